"""The gateway itself for end-to-end tests: real sockets, its own thread and event loop, any configuration as TOML."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator

import uvicorn

from adapters.options import KINDS
from proxy import config as configuration
from proxy.app import Application
from proxy.cli import server
from proxy.pipeline import House


class Gateway:
    """A running server, without a ledger unless `toml` has a `[store]`.

    `app` is the Application inside; its loop is another thread's: use `call`.
    """

    def __init__(self, toml: str, env: dict[str, str] | None = None) -> None:
        if "[store]" not in toml:
            toml += "\n[store]\nledger = false\n"
        self.config = configuration.loads(toml, KINDS, env or {}, file="test.toml")
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._main, name="gateway", daemon=True)
        self.port = 0
        self.error: BaseException | None = None

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def v1(self) -> str:
        return f"{self.origin}/v1"

    @property
    def venice(self) -> str:
        return f"{self.origin}/api/v1"

    def _main(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - told to the test
            self.error = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.app = Application(self.config, "")
        options = server.options(self.app.asgi, self.config, "warning")
        options.timeout_graceful_shutdown = 5
        self.server = uvicorn.Server(options)
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        serving = asyncio.create_task(self.server.serve(sockets=[listener]))
        while not self.server.started and not serving.done():  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.005)
        self._ready.set()
        await serving

    def start(self) -> "Gateway":
        self._thread.start()
        self._ready.wait(30)
        if self.error is not None:
            raise self.error
        return self

    def stop(self) -> None:
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(setattr, self.server, "should_exit", True)
            self._thread.join(15)
        if self.error is not None:
            raise self.error

    def house(self) -> House:
        """The snapshot that serves now."""
        return self.app.house

    def call(self, work: object) -> object:
        """Run a coroutine in the server's loop and give its result."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)  # type: ignore[arg-type]


@contextlib.contextmanager
def gateway(toml: str, env: dict[str, str] | None = None) -> Iterator[Gateway]:
    here = Gateway(toml, env).start()
    try:
        yield here
    finally:
        here.stop()


def upstream(base_url: str, name: str = "up", **more: object) -> str:
    """The TOML of one upstream of kind openai, and a model `m` on it."""
    lines = "\n".join(f"{key} = {_toml(value)}" for key, value in more.items())
    return f"""
[upstreams.{name}]
kind = "openai"
base_url = "{base_url}"
api_key = "upstream-secret-key"
{lines}

[models.m]
targets = [{{upstream = "{name}", model = "upstream-model"}}]
traits = ["default"]
"""


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items()) + "}"
    return f'"{value}"' if isinstance(value, str) else str(value)
