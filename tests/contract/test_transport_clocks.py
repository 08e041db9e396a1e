"""One fault suite for the transports: whatever an upstream's socket does, an answer is complete or it is an error.

Each scenario runs over real sockets against byte-exact scripts, over our own transport on uvloop and on asyncio, over
httpx-aiohttp's and over httpx's own. This part: the five clocks.
"""

import asyncio
import contextlib
import socket

import pytest

from adapters._http import HttpClient, Timeouts, TransportError
from fakes.rawserver import CHUNKED, Peer, RawServer, chunk
from fakes.transport_lines import ALL, AT_ONCE_S, NATIVE, NOT_HTTPX, Line, over, post, talk, whole


@over(*ALL)
async def test_connect_timeout_covers_the_handshake(line: Line) -> None:
    """A server that takes the connection and never says a word of TLS."""

    async def script(peer: Peer) -> None:
        await peer.gone.wait()

    async with RawServer(script, host="127.0.0.1") as server:
        url = f"https://localhost:{server.port}"
        clocks = Timeouts(connect_s=0.2, total_s=5.0)
        client = HttpClient(url, transport=line.transport, timeouts=clocks)  # type: ignore[arg-type]
        began = asyncio.get_running_loop().time()
        with pytest.raises(TransportError) as caught:
            await post(client)
        assert (caught.value.kind, caught.value.sent) == ("connect_timeout", False)
        assert 0.15 < asyncio.get_running_loop().time() - began < 2.0
        async with asyncio.timeout(1):
            await server.until(lambda: not server.open)
        await client.aclose()


@over(*NOT_HTTPX)
async def test_connect_timeout_of_a_full_backlog(line: Line) -> None:
    """A listener that accepts nobody: the SYN goes unanswered."""
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        for _ in range(8):  # fill the queue
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(address)
        clocks = Timeouts(connect_s=0.2)
        client = HttpClient(f"http://127.0.0.1:{address[1]}", transport=line.transport, timeouts=clocks)  # type: ignore[arg-type]
        with pytest.raises(TransportError) as caught:
            await post(client)
        assert (caught.value.kind, caught.value.sent) == ("connect_timeout", False)
        await client.aclose()


@over(*ALL)
async def test_first_byte_timeout(line: Line) -> None:
    """Half a head is no head; the socket is closed."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n")
        await peer.gone.wait()

    async with talk(line, script) as (server, client):
        clocks = Timeouts(first_byte_s=0.2, between_bytes_s=5.0)
        began = asyncio.get_running_loop().time()
        with pytest.raises(TransportError) as caught:
            await post(client, timeouts=clocks)
        assert (caught.value.kind, caught.value.sent, caught.value.is_timeout) == ("first_byte_timeout", True, True)
        assert 0.15 < asyncio.get_running_loop().time() - began < 1.0
        await asyncio.wait_for(server.peers[0].gone.wait(), AT_ONCE_S)


@over(*ALL)
async def test_between_bytes_timeout(line: Line) -> None:
    """The clock starts anew with every byte, and fires once a pause is too long."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        for _ in range(8):
            await peer.send(chunk(b"tick"))
            await asyncio.sleep(0.05)
        await peer.gone.wait()

    async with talk(line, script) as (server, client):
        clocks = Timeouts(first_byte_s=5.0, between_bytes_s=0.2)
        response = await client.send("POST", "/x", timeouts=clocks)
        got = b""
        with pytest.raises(TransportError) as caught:  # noqa: PT012  whichever turn it is
            while True:
                got += await response.chunk()
        assert got == b"tick" * 8
        assert (caught.value.kind, caught.value.response_started) == ("between_bytes_timeout", True)
        await asyncio.wait_for(server.peers[0].gone.wait(), AT_ONCE_S)


@over(*ALL)
async def test_a_slow_reader_does_not_run_the_upstreams_clock(line: Line) -> None:
    """What has come stays readable; silence that we caused is not a timeout."""
    total = 4 * 1024 * 1024

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % total)
        for _ in range(64):
            await peer.send(b"x" * (total // 64))
        await peer.gone.wait()

    async with talk(line, script) as (_, client):
        response = await client.send("POST", "/x", timeouts=Timeouts(between_bytes_s=0.2))
        await asyncio.sleep(0.6)  # longer than the clock: this is the thing under test
        assert len(await whole(response)) == total


@over(*ALL)
async def test_total_timeout(line: Line) -> None:
    """However lively the body is."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        while True:
            await peer.send(chunk(b"tick"))
            await asyncio.sleep(0.02)

    async with talk(line, script) as (server, client):
        response = await client.send("POST", "/x", timeouts=Timeouts(between_bytes_s=5.0, total_s=0.3))
        with pytest.raises(TransportError) as caught:
            await whole(response)
        assert caught.value.kind == "total_timeout"
        await asyncio.wait_for(server.peers[0].gone.wait(), AT_ONCE_S)


@over(*NATIVE)
async def test_an_upstream_that_takes_no_request_runs_into_the_first_byte_clock(line: Line) -> None:
    """Slow taking is not a stall; none at all is."""

    over = asyncio.Event()

    async def script(peer: Peer) -> None:
        peer.stop_reading()
        await over.wait()
        peer.read_on()
        await peer.gone.wait()

    async with talk(line, script) as (_, client):
        with pytest.raises(TransportError) as caught:
            await post(client, b"x" * 64_000_000, timeouts=Timeouts(first_byte_s=0.3))
        assert (caught.value.kind, caught.value.sent) == ("first_byte_timeout", True)
        over.set()
