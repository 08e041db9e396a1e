"""A connection over a socket pair: writing, the timer, who gets it back, and how it is given up."""

import asyncio
import math
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest

from adapters._http.connection import JOIN_LIMIT, Connection
from adapters._http.errors import TransportError
from adapters._http.exchange import Exchange
from adapters._http.timeouts import Timeouts

pytestmark = pytest.mark.asyncio

HEAD = b"POST / HTTP/1.1\r\nhost: h\r\n\r\n"


class Keeper:
    """What a connection told its keeper."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.lost = asyncio.Event()

    def born(self, connection: Connection) -> None:
        self.told.append("born")

    def release(self, connection: Connection) -> None:
        self.told.append("release")

    def forget(self, connection: Connection) -> None:
        self.told.append("forget")

    def gone(self, connection: Connection) -> None:
        self.told.append("gone")
        self.lost.set()


class Rig(NamedTuple):
    """A connection, its keeper, and the other end."""

    connection: Connection
    keeper: Keeper
    far: socket.socket

    def begin(self, body: Any = b"", timeouts: Timeouts | None = None, length: int | None = None) -> Exchange:
        exchange = Exchange(asyncio.get_running_loop(), self.connection, timeouts or Timeouts(), math.inf)
        self.connection.begin(exchange, HEAD, body, length)
        return exchange

    async def hear(self, size: int) -> bytes:
        loop, out = asyncio.get_running_loop(), b""
        while len(out) < size:
            data = await asyncio.wait_for(loop.sock_recv(self.far, size - len(out)), 5)
            if not data:
                break
            out += data
        return out

    async def say(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.far, data)


@asynccontextmanager
async def rig() -> AsyncIterator[Rig]:
    near, far = socket.socketpair()
    far.setblocking(False)
    loop, keeper = asyncio.get_running_loop(), Keeper()
    _, connection = await loop.create_connection(lambda: Connection(loop, keeper), sock=near)
    try:
        yield Rig(connection, keeper, far)
    finally:
        connection.abort()
        await asyncio.wait_for(keeper.lost.wait(), 5)
        far.close()
        assert keeper.told.count("forget") == 1
        assert keeper.told.count("gone") == 1


async def turns(n: int = 5) -> None:
    for _ in range(n):
        await asyncio.sleep(0)


@pytest.mark.parametrize("size", [0, 10, JOIN_LIMIT, JOIN_LIMIT + 1, 3_000_000])
async def test_a_body_of_bytes(size: int) -> None:
    """Head and body arrive whole, whichever way they were written."""
    async with rig() as r:
        exchange = r.begin(b"x" * size)
        assert exchange.sent
        assert await r.hear(len(HEAD) + size) == HEAD + b"x" * size
        await turns()
        assert exchange.due()[1] == "first_byte_timeout"
        assert not exchange.busy_writing


async def test_an_upstream_that_leaves_before_a_request_does_is_no_error_of_the_loop() -> None:
    """What is written together at the end of a turn is not written to a transport that closed in it; the exchange is told."""
    async with rig() as r:
        troubles: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: troubles.append(context))
        transport: Any = r.connection._transport
        written: list[bytes] = []

        class Closing:
            def __getattr__(self, name: str) -> Any:
                return getattr(transport, name)

            def is_closing(self) -> bool:
                return True

            def write(self, data: bytes) -> None:
                written.append(data)
                raise RuntimeError("the handler is closed")

        r.begin()
        r.connection._transport = Closing()  # type: ignore[assignment]
        await turns()
        r.connection._transport = transport
        assert (written, troubles) == ([], [])


async def test_an_iterated_body() -> None:
    """Chunked, empty pieces left out (one would be the end)."""

    async def pieces() -> AsyncIterator[bytes]:
        yield b"abc"
        yield b""
        yield b"defghijklmnop"

    async with rig() as r:
        r.begin(pieces())
        expected = HEAD + b"3\r\nabc\r\nd\r\ndefghijklmnop\r\n0\r\n\r\n"
        assert await r.hear(len(expected)) == expected


@pytest.mark.parametrize(("announced", "word"), [(2, "longer"), (10, "shorter")])
async def test_an_iterated_body_of_another_length(announced: int, word: str) -> None:
    """Is an error of the request, not a request that never ends or runs into the next."""

    async def pieces() -> AsyncIterator[bytes]:
        yield b"abc"

    async with rig() as r:
        exchange = r.begin(pieces(), length=announced)
        with pytest.raises(TransportError, match=word) as caught:
            await exchange.head()
        assert caught.value.kind == "request"
        assert r.connection.closed


async def test_the_iterator_is_closed_when_the_exchange_ends_first() -> None:
    """Its own `finally` runs."""
    ended = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        try:
            yield b"abc"
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with rig() as r:
        exchange = r.begin(pieces())
        await r.hear(len(HEAD))
        exchange.close()
        await asyncio.wait_for(ended.wait(), 1)


async def test_it_goes_back_after_a_complete_exchange() -> None:
    """And can carry the next."""
    async with rig() as r:
        for n in (1, 2):
            exchange = r.begin()
            await r.hear(len(HEAD))
            await r.say(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            await exchange.head()
            assert await exchange.chunk() == b"ok"
            assert r.keeper.told.count("release") == n
            assert r.connection.served == n
        assert r.connection.expires_at == 0.0


@pytest.mark.parametrize(("seconds", "left"), [(5, 4.0), (1, 0.0), (0, 0.0)])
async def test_a_servers_idle_limit_is_undercut_by_a_second(seconds: int, left: float) -> None:
    """What it announces is kept for the keeper."""
    async with rig() as r:
        exchange = r.begin()
        await r.say(b"HTTP/1.1 200 OK\r\nkeep-alive: timeout=%d\r\ncontent-length: 0\r\n\r\n" % seconds)
        await exchange.head()
        assert r.connection.expires_at == pytest.approx(asyncio.get_running_loop().time() + left, abs=0.5)


@pytest.mark.parametrize(
    "wire",
    [
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok, and more",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
    ],
)
async def test_it_is_closed_after_an_exchange_that_ends_it(wire: bytes) -> None:
    """By Connection, by version, or by bytes that nobody asked for."""
    async with rig() as r:
        exchange = r.begin()
        await r.say(wire)
        await exchange.head()
        assert await exchange.chunk() == b"ok"
        assert "release" not in r.keeper.told
        assert r.connection.closed


async def test_an_answer_before_the_body_is_sent_ends_it() -> None:
    """The rest of the body must not become the next request."""

    async def pieces() -> AsyncIterator[bytes]:
        yield b"abc"
        await asyncio.Event().wait()

    async with rig() as r:
        exchange = r.begin(pieces())
        await r.hear(len(HEAD) + 8)
        await r.say(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno")
        await exchange.head()
        assert (exchange.status, await exchange.chunk()) == (413, b"no")
        assert r.connection.closed


@pytest.mark.parametrize("size", [100_000, 4_000_000])
async def test_an_answer_before_the_bytes_are_written_ends_it(size: int) -> None:
    """The same for a body that still lies in the write buffer."""
    async with rig() as r:
        exchange = r.begin(b"x" * size * 4)
        await r.say(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno")
        await exchange.head()
        assert (exchange.status, await exchange.chunk()) == (413, b"no")
        assert r.connection.closed


async def test_bytes_on_an_idle_connection_close_it() -> None:
    """Also the farewell of a server that gives up waiting."""
    async with rig() as r:
        await r.say(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n")
        await asyncio.wait_for(r.keeper.lost.wait(), 1)
        assert r.connection.closed
        with pytest.raises(RuntimeError, match="gone"):
            r.begin()


async def test_an_end_on_an_idle_connection_closes_it() -> None:
    """So that it is not used again."""
    async with rig() as r:
        r.far.shutdown(socket.SHUT_WR)
        await asyncio.wait_for(r.keeper.lost.wait(), 1)
        assert not r.connection.usable


async def test_a_request_that_is_given_up_before_it_left_is_never_written() -> None:
    """It waits for the end of the loop's turn with those of other calls."""
    async with rig() as it:
        exchange = it.begin(b"body")
        exchange.close()
        assert await it.hear(1) == b""
        with pytest.raises(TransportError, match="closed"):
            await exchange.head()


async def test_aborting_ends_the_exchange() -> None:
    """The reader learns it; the other end sees it; twice is once."""
    async with rig() as r:
        exchange = r.begin()
        await r.hear(len(HEAD))
        r.connection.abort()
        r.connection.abort()
        with pytest.raises(TransportError, match="closed"):
            await exchange.head()
        assert await r.hear(1) == b""


async def test_a_slow_upload_is_no_stall() -> None:
    """As long as some bytes are taken within each first-byte span, the clock does not fire."""
    async with rig() as r:
        size = 2_000_000
        exchange = r.begin(b"x" * size, Timeouts(first_byte_s=0.15, between_bytes_s=0.15))
        heard = 0
        while heard < size:
            heard += len(await r.hear(400_000))
            if heard < size:
                await asyncio.sleep(0.08)  # slowness is the thing under test
        assert exchange.error is None


async def test_the_timer_follows_the_phases() -> None:
    """It was set for a long first byte, and fires for a short silence in the body; between exchanges it does nothing."""
    async with rig() as r:
        exchange = r.begin(timeouts=Timeouts(first_byte_s=0.1))
        await r.say(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        await exchange.head()
        await asyncio.sleep(0.2)
        assert not r.connection.closed
        exchange = r.begin(timeouts=Timeouts(first_byte_s=30, between_bytes_s=0.1))
        await r.say(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc")
        assert await exchange.chunk() == b"abc"
        with pytest.raises(TransportError, match="between_bytes"):
            await asyncio.wait_for(exchange.chunk(), 1)


async def test_a_shortened_clock_is_looked_at_in_time() -> None:
    """`release` gives the rest of a body a second, though the timer was set for much later."""
    async with rig() as r:
        exchange = r.begin()
        await r.say(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc")
        await exchange.head()
        exchange.release()
        await asyncio.wait_for(r.keeper.lost.wait(), 2)
        assert isinstance(exchange.error, TransportError)
