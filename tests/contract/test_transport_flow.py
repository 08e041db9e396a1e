"""One fault suite for the transports: whatever an upstream's socket does, an answer is complete or it is an error.

Each scenario runs over real sockets against byte-exact scripts, over our own transport on uvloop and on asyncio, over
httpx-aiohttp's and over httpx's own. This part: back-pressure, both ways.
"""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from adapters._http import Timeouts
from fakes.rawserver import Peer, answer
from fakes.transport_lines import ALL, NATIVE, Line, over, talk, whole


@over(*ALL)
async def test_an_unread_body_stops_the_server(line: Line) -> None:
    """The server cannot write on while nobody reads; then all of it arrives."""
    piece, total = b"x" * 65536, 64 * 1024 * 1024
    stuck = asyncio.Event()

    async def script(peer: Peer) -> None:
        peer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % total)
        for _ in range(total // len(piece)):
            writing = asyncio.create_task(peer.send(piece))
            done, _ = await asyncio.wait({writing}, timeout=0.3)
            if not done:
                stuck.set()
            await writing
        await peer.gone.wait()

    async with talk(line, script, timeouts=Timeouts()) as (server, client):
        response = await client.send("POST", "/x")
        await asyncio.wait_for(stuck.wait(), 5)
        assert server.peers[0].taken < 16 * 1024 * 1024  # socket buffers, ours, and no more
        size = 0
        while data := await response.chunk():
            size += len(data)
            assert len(data) <= 1024 * 1024
        assert size == total


@over(*NATIVE)
async def test_a_server_that_does_not_read_stops_the_iterator(line: Line) -> None:
    """A large upload is pulled from its source at the upstream's pace."""
    pulled, read_on = 0, asyncio.Event()
    piece, count = b"x" * 65536, 256

    async def source() -> AsyncIterator[bytes]:
        nonlocal pulled
        for _ in range(count):
            pulled += 1
            yield piece

    async def script(peer: Peer) -> None:
        peer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        peer.stop_reading()
        await read_on.wait()
        peer.read_on()
        heard = await peer.request()
        await peer.send(answer(b"%d" % len(heard.body)))

    async with talk(line, script, timeouts=Timeouts()) as (_, client):
        task = asyncio.create_task(client.send("POST", "/x", content=source()))
        before = -1
        while pulled != before:
            before = pulled
            await asyncio.sleep(0.1)
        assert 0 < pulled < count // 2
        read_on.set()
        async with await task as response:
            assert await whole(response) == b"%d" % (count * len(piece))


@pytest.mark.parametrize("kind", ["bytes", "iterated"])
@over(*NATIVE)
async def test_an_early_answer_is_read_while_the_body_is_still_being_sent(line: Line, kind: str) -> None:
    """413 and a closed door: the answer counts, not the broken pipe."""

    async def script(peer: Peer) -> None:
        await peer.until(b"\r\n\r\n")
        peer.stop_reading()
        await peer.send(answer(b"too big", "413 Content Too Large", "connection: close"))

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(1000):
            yield b"x" * 65536

    async with talk(line, script) as (server, client):
        content = b"x" * 65_536_000 if kind == "bytes" else pieces()
        async with await client.send("POST", "/x", content=content) as response:
            assert (response.status, await whole(response)) == (413, b"too big")
        await asyncio.wait_for(server.peers[0].gone.wait(), 1)


@over(*ALL)
async def test_the_callers_iterator_may_fail(line: Line) -> None:
    """Its own exception comes out, and the half-sent request is closed."""

    class Broken(Exception):
        pass

    async def pieces() -> AsyncIterator[bytes]:
        yield b"some"
        raise Broken

    async def script(peer: Peer) -> None:
        await peer.gone.wait()

    async with talk(line, script) as (server, client):
        with pytest.raises(Broken):
            await client.send("POST", "/x", content=pieces())
        async with asyncio.timeout(1):
            await server.until(lambda: not server.open)
