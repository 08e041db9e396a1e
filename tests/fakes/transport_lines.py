"""The transports under test, each on an event loop, and what every scenario about them needs.

Owns the choice of lines, the running of a scenario in a loop of its own with a look for tasks and sockets left behind, and
the shortest way to a server with a client. Refuses to know what is tested.
"""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

import pytest
import uvloop

from adapters._http import HttpClient, HttpResponse, Timeouts
from fakes.rawserver import Peer, RawServer

FAST = Timeouts(connect_s=2.0, first_byte_s=2.0, between_bytes_s=2.0, total_s=5.0, pool_s=2.0)
AT_ONCE_S = 0.1  # a socket that is given up is closed within this, as the server sees it


class Line(NamedTuple):
    """A transport under test, on an event loop."""

    transport: str
    loop: Callable[[], asyncio.AbstractEventLoop]

    def client(self, server: RawServer, **more: Any) -> HttpClient:
        """A client of `server` over this transport."""
        return HttpClient(server.url, transport=self.transport, **{"timeouts": FAST, **more})  # type: ignore[arg-type]

    @property
    def native(self) -> bool:
        return self.transport == "native"


LINES = {
    "native-uvloop": Line("native", uvloop.new_event_loop),
    "native-asyncio": Line("native", asyncio.new_event_loop),
    "aiohttp": Line("aiohttp", uvloop.new_event_loop),
    "httpx": Line("httpx", uvloop.new_event_loop),
}
ALL = tuple(LINES)
NATIVE = ("native-uvloop", "native-asyncio")
NOT_HTTPX = (*NATIVE, "aiohttp")

Test = Callable[..., Awaitable[None]]


def over(*names: str) -> Callable[[Test], Callable[..., None]]:
    """Run an async test over the named lines, in a loop of its own, and look for tasks that it left behind."""

    def wrap(test: Test) -> Callable[..., None]:
        @pytest.mark.parametrize("line", [LINES[n] for n in names], ids=names)
        @functools.wraps(test)
        def run(line: Line, **fixtures: Any) -> None:
            async def guarded() -> None:
                async with asyncio.timeout(20):
                    await test(line, **fixtures)
                    await asyncio.sleep(0)
                left = asyncio.all_tasks() - {asyncio.current_task()}
                assert not left, f"tasks left behind: {left}"

            with asyncio.Runner(loop_factory=line.loop) as runner:
                runner.run(guarded())

        return run

    return wrap


@contextlib.asynccontextmanager
async def talk(
    line: Line, script: Callable[[Peer], Awaitable[None]], **more: Any
) -> AsyncIterator[tuple[RawServer, HttpClient]]:
    """A server with a script and a client of it; both are closed, and no connection may outlive the client."""
    server_options = {k: more.pop(k) for k in ("tls",) if k in more}
    if "uds" in more:
        server_options["uds"] = more["uds"]
    async with RawServer(script, **server_options) as server:
        client = line.client(server, **more)
        try:
            yield server, client
        finally:
            await client.aclose()
        async with asyncio.timeout(1):
            await server.until(lambda: not server.open)


async def whole(response: HttpResponse) -> bytes:
    """Every chunk of a body."""
    out = b""
    while data := await response.chunk():
        out += data
    return out


async def post(client: HttpClient, content: bytes | AsyncIterator[bytes] = b"{}", **more: Any) -> bytes:
    """One complete exchange."""
    async with await client.send("POST", "/x", content=content, **more) as response:
        return await whole(response)


def replies(*answers: bytes, then_close: bool = False) -> Callable[[Peer], Awaitable[None]]:
    """A script: one of the answers for each request, the last for ever."""

    async def script(peer: Peer) -> None:
        queue = list(answers)
        while True:
            await peer.request()
            await peer.send(queue.pop(0) if len(queue) > 1 else queue[0])
            if then_close:
                return

    return script
