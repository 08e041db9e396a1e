"""uvicorn's settings: as the configuration says, and set for streams; and the line that says where it serves."""

import asyncio
from typing import Any

import pytest

from fakes.houses import read
from proxy.cli.serve import bound, origin
from proxy.cli.server import KEEP_ALIVE_S, Announcing, options


async def app(scope: Any, receive: Any, send: Any) -> None:
    while scope["type"] == "lifespan":
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


@pytest.mark.parametrize(("drain_s", "seconds"), [("0.2", 1), ("45.5", 45)])
def test_options(drain_s: str, seconds: int) -> None:
    made = options(app, read(f"[server]\ndrain_s = {drain_s}"), "info")
    assert (made.timeout_graceful_shutdown, made.timeout_keep_alive) == (seconds, KEEP_ALIVE_S)
    assert (made.log_level, made.access_log, made.server_header) == ("warning", False, False)


def test_it_says_where_once_it_serves(capsys: Any) -> None:
    async def main() -> None:
        with bound("127.0.0.1", 0, "") as listener:
            server = Announcing(options(app, read(""), "info"), origin(listener))
            server.config.load()
            server.lifespan = server.config.lifespan_class(server.config)
            await server.startup([listener])
            assert f"traghetto: ready on {origin(listener)} " in capsys.readouterr().err
            await server.shutdown([listener])

    asyncio.run(main())
