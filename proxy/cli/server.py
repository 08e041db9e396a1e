"""uvicorn, set up for streams, with a protocol of ours: the one place that knows its settings."""

import gc
import socket
from typing import Any

import click
import uvicorn

from proxy import NAME
from proxy.config import Config
from routes._http.connection import Connection

KEEP_ALIVE_S = 75  # longer than clients keep idle connections, so that they never meet a closing one


class Announcing(uvicorn.Server):
    """Says where it serves, once it does."""

    def __init__(self, config: uvicorn.Config, origin: str) -> None:
        super().__init__(config)
        self._origin = origin

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # What has been loaded stays: leave it out of every collection, which otherwise stops all streams for a moment.
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000, 20, 50)  # calls make little that refers to itself; look less often
        if self.started:
            click.echo(
                f"{NAME}: ready on {self._origin}  (OpenAI: {self._origin}/v1, Venice: {self._origin}/api/v1)", err=True
            )


def options(app: Any, config: Config, log_level: str) -> uvicorn.Config:
    """`app` is the ASGI app, or the import path of its factory."""
    return uvicorn.Config(
        app,
        loop="uvloop",
        http=Connection,
        ws="none",
        lifespan="on",
        access_log=False,
        proxy_headers=False,  # who calls is what the key says, never a header
        log_level="warning" if log_level == "info" else log_level,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, int(config.server.drain_s)),
        server_header=False,
        backlog=4096,
    )
