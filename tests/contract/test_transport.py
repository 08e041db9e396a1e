"""One fault suite for the transports: whatever an upstream's socket does, an answer is complete or it is an error.

Each scenario runs over real sockets against byte-exact scripts, over our own transport on uvloop and on asyncio, over
httpx-aiohttp's and over httpx's own. This part: answers that are good.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable, Iterator

import brotli
import pytest

from adapters._http import HttpClient
from fakes.rawserver import CHUNKED, Peer, RawServer, answer, chunk
from fakes.transport_lines import ALL, FAST, NATIVE, Line, over, post, replies, talk, whole
from fakes.wires import ALL_CHUNKED, BODY, GOOD


@pytest.mark.parametrize("case", GOOD)
@pytest.mark.parametrize("pieces", ["whole", "bytewise", "around every CRLF"])
@over(*ALL)
async def test_a_complete_answer_is_handed_over_whole(line: Line, case: str, pieces: str) -> None:
    """However it is framed and cut into packets; and the connection is reused exactly when HTTP allows it."""
    wire, body, closes = GOOD[case]

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            if pieces == "whole":
                await peer.send(wire)
            elif pieces == "bytewise":
                await peer.bytewise(wire)
            else:
                for part in _between_cr_and_lf(wire):
                    await peer.send(part)
                    await asyncio.sleep(0)
            if closes:
                return

    async with talk(line, script) as (server, client):
        for _ in range(2):
            response = await client.send("POST", "/x", content=b"{}")
            assert await whole(response) == body
            assert await response.chunk() == b""  # and ever after
            assert response.complete
            response.close()
        if line.native or closes:
            assert server.accepted == (2 if closes else 1)


def _between_cr_and_lf(wire: bytes) -> Iterator[bytes]:
    parts = wire.split(b"\r\n")
    for i, part in enumerate(parts[:-1]):
        yield (b"\n" if i else b"") + part + b"\r"
    yield b"\n" + parts[-1]


@pytest.mark.parametrize("coding", ["gzip", "deflate", "raw deflate", "br"])
@over(*ALL)
async def test_a_compressed_answer_is_decoded_as_it_comes(line: Line, coding: str) -> None:
    """Though we ask for identity: the first event is there before the second has been sent."""
    first, second = b"data: one\n\n" * 20, b"data: two\n\n" * 20
    read_first = asyncio.Event()
    squeeze = _squeezer(coding)

    async def script(peer: Peer) -> None:
        heard = await peer.request()
        assert heard.header("accept-encoding") == ["identity"]
        name = coding.split()[-1]
        head = f"HTTP/1.1 200 OK\r\ncontent-encoding: {name}\r\ntransfer-encoding: chunked\r\n\r\n".encode()
        await peer.send(head + chunk(squeeze(first, False)))
        await read_first.wait()
        await peer.send(chunk(squeeze(second, True)) + chunk(b""))

    async with talk(line, script) as (_, client), await client.send("POST", "/x") as response:
        got = b""
        while len(got) < len(first):
            got += await response.chunk()
        assert got == first
        read_first.set()
        assert await whole(response) == second


def _squeezer(coding: str) -> Callable[[bytes, bool], bytes]:
    if coding == "br":
        b = brotli.Compressor()
        return lambda data, last: b.process(data) + (b.finish() if last else b.flush())
    bits = {"gzip": 31, "deflate": 15, "raw deflate": -15}[coding]
    z = zlib.compressobj(wbits=bits)
    return lambda data, last: z.compress(data) + z.flush(zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH)


@over(*ALL)
async def test_the_request_is_what_was_asked_for(line: Line) -> None:
    """Method, target under the base path, default and own headers, host, length and body arrive as given."""
    async with RawServer(replies(answer(b"ok"))) as server:
        client = HttpClient(
            server.url + "/v1/",
            transport=line.transport,  # type: ignore[arg-type]
            headers=[("authorization", "Bearer k"), ("x-a", "default")],
            timeouts=FAST,
        )
        headers = [("content-type", "application/json"), ("X-A", "mine")]
        async with await client.send(
            "POST", "/models/a%2Fb", headers=headers, content=b'{"a":1}', query="q=1&r=%20"
        ) as response:
            assert (response.status, response.header("Content-Length")) == (200, "2")
            assert await response.read(10) == b"ok"
        await post(client, b"")
        async with await client.send("GET", "/y") as response:
            await response.read(10)
        await client.aclose()
        first, second, third = server.heard
    assert (first.method, first.target, first.body) == ("POST", "/v1/models/a%2Fb?q=1&r=%20", b'{"a":1}')
    assert first.header("host") == [f"127.0.0.1:{server.port}"]
    assert first.header("content-length") == ["7"]
    assert first.header("authorization") == ["Bearer k"]
    assert first.header("x-a") == ["mine"]
    assert first.header("content-type") == ["application/json"]
    assert first.header("accept-encoding") == ["identity"]
    assert not first.header("transfer-encoding")
    assert second.header("content-length") == ["0"]
    assert not third.header("content-length")
    assert len({n.lower() for n, _ in first.headers}) == len(first.headers)


@over(*ALL)
async def test_an_iterated_body_is_streamed(line: Line) -> None:
    """Chunked without a length, as it is with one."""

    async def pieces() -> AsyncIterator[bytes]:
        for part in (b"abc", b"", b"defg" * 5000, b"h"):
            yield part

    sent = b"abc" + b"defg" * 5000 + b"h"
    async with talk(line, replies(answer(b"ok"))) as (server, client):
        async with await client.send("POST", "/x", content=pieces()) as response:
            assert await whole(response) == b"ok"
        headers = [("content-length", str(len(sent)))]
        async with await client.send("POST", "/x", content=pieces(), headers=headers) as response:
            assert await whole(response) == b"ok"
        first, second = server.heard
    assert (first.body, first.header("transfer-encoding")) == (sent, ["chunked"])
    assert (second.body, second.header("content-length")) == (sent, [str(len(sent))])
    assert not second.header("transfer-encoding")


@over(*NATIVE)
async def test_head_has_no_body_and_keeps_the_connection(line: Line) -> None:
    """Whatever length it announces."""
    async with talk(line, replies(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n")) as (server, client):
        for _ in range(2):
            async with await client.send("HEAD", "/x") as response:
                assert (response.header("content-length"), await whole(response)) == ("500", b"")
        assert server.accepted == 1


@over(*ALL)
async def test_a_chunk_is_delivered_before_the_next_is_written(line: Line) -> None:
    """Nothing is held back: the server writes the next chunk only when the reader has had the last."""
    had: asyncio.Queue[bytes] = asyncio.Queue()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        for i in range(50):
            data = b"data: %d\n\n" % i
            await peer.send(chunk(data))
            assert await had.get() == data
        await peer.send(chunk(b""))

    async with talk(line, script) as (_, client), await client.send("POST", "/x") as response:
        while data := await response.chunk():
            had.put_nowait(data)


@over(*NATIVE)
async def test_what_one_read_brings_is_handed_over_at_once(line: Line) -> None:
    """Many chunks in one packet are one wake of the reader, not many."""
    async with (
        talk(line, replies(CHUNKED + b"".join(chunk(b"%04d" % i) for i in range(500)) + chunk(b""))) as (
            _,
            client,
        ),
        await client.send("POST", "/x") as response,
    ):
        assert len(await response.chunk()) == 2000
        assert await response.chunk() == b""


@over(*ALL)
async def test_connections_are_reused_one_after_the_other(line: Line) -> None:
    """Fifty exchanges, one connection."""
    async with talk(line, replies(ALL_CHUNKED)) as (server, client):
        for _ in range(50):
            assert await post(client) == BODY
        assert server.accepted == 1


@over(*ALL)
async def test_a_body_that_is_nearly_over_can_be_released(line: Line) -> None:
    """The reader has what it wanted; the end comes a moment later, and the connection is kept."""
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        for _ in range(2):
            await peer.request()
            await peer.send(CHUNKED + chunk(b"data: [DONE]\n\n"))
            await go.wait()
            await peer.send(chunk(b""))
        await peer.gone.wait()

    async with talk(line, script, max_connections=1) as (server, client):
        response = await client.send("POST", "/x")
        assert await response.chunk() == b"data: [DONE]\n\n"
        response.release()
        go.set()
        assert await post(client) == b"data: [DONE]\n\n"
        assert server.accepted == 1


@over(*ALL)
async def test_a_released_body_that_goes_on_is_closed(line: Line) -> None:
    """Neither for ever nor for more than a little."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        while True:
            await peer.send(chunk(b"x" * 10_000))

    async with talk(line, script) as (server, client):
        response = await client.send("POST", "/x")
        response.release()
        async with asyncio.timeout(3):
            await server.peers[0].gone.wait()
