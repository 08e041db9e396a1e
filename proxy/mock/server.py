"""The evil upstream as a server: started, scripted, asked what it saw, stopped.

Owns the listening socket and the life of the connections. Decides no answers. Invariant: after `stop` nothing of it
runs and every exchange has ended.
"""

import asyncio
import signal
import ssl
import sys
from typing import Self

from proxy.mock.answers import Backend
from proxy.mock.connection import Connection
from proxy.mock.faults import Fault
from proxy.mock.journal import Exchange, Journal
from proxy.mock.options import MockOptions
from proxy.mock.script import Queue, Script


class MockServer:
    """`async with MockServer(options) as mock:` serves until the block is left; `mock.url` is the base URL."""

    def __init__(self, options: MockOptions | None = None, tls: ssl.SSLContext | None = None):
        self.options = options or MockOptions()
        self.journal = Journal()
        self.queue = Queue(self.options.seed, self.options.faults, self.options.rate, self.options.recording)
        self.backend = Backend(self.options)
        self.connections: set[Connection] = set()
        self.port = self.options.port
        self._tls = tls
        self._server: asyncio.Server | None = None

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"{'https' if self._tls else 'http'}://{self.options.host}:{self.port}"

    @property
    def url(self) -> str:
        """The base URL that a client is given."""
        return self.origin + self.options.prefix

    @property
    def exchanges(self) -> list[Exchange]:
        return self.journal.exchanges

    def script(self, *scripts: Script | Fault) -> None:
        """Queue one answer for each argument; a bare Fault is a Script with that fault."""
        self.queue.add(Script(faults=(item,)) if isinstance(item, Fault) else item for item in scripts)

    async def start(self) -> None:
        """Listen. Raises `OSError` where the address is taken."""
        loop = asyncio.get_running_loop()
        if self.options.unix is not None:
            self._server = await loop.create_unix_server(lambda: Connection(self), self.options.unix, ssl=self._tls)
            return
        self._server = await loop.create_server(
            lambda: Connection(self), self.options.host, self.options.port, ssl=self._tls, backlog=1024
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and drop what is open."""
        if self._server is None:
            return
        self._server.close()
        tasks = [connection.task for connection in self.connections if connection.task is not None]
        for connection in list(self.connections):
            connection.stop()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.journal.wait_idle()
        await self._server.wait_closed()
        self._server = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()


async def run(options: MockOptions) -> None:
    """Serve until SIGTERM or SIGINT; the first line on standard output says where."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with MockServer(options) as mock:
        sys.stdout.write(f"listening on {options.unix or mock.url}\n")
        sys.stdout.flush()
        await stopped.wait()
