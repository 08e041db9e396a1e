"""The client's own part: base URLs, headers, decoding, limits. Everything about sockets is in tests/contract."""

import asyncio
import gc
import gzip
from collections.abc import AsyncIterator, Callable

import pytest

from adapters._http.client import Headers, HttpClient, HttpResponse
from adapters._http.errors import TransportError
from adapters._http.timeouts import Timeouts
from fakes.rawserver import CHUNKED, Peer, RawServer, answer, chunk

RAW = [(b"Content-Type", b" text/plain "), (b"x-a", b"1"), (b"X-A", b"2"), (b"x-latin", b"\xe9")]


def test_headers() -> None:
    """Names compare without case, values are stripped, order and repetition are kept."""
    headers = Headers(RAW)
    assert headers.get("content-type") == "text/plain"
    assert headers.get("CONTENT-TYPE") == "text/plain"
    assert headers.get("x-a") == "1"
    assert headers.get("x-b") is None
    assert headers.get_all("x-A") == ["1", "2"]
    assert headers.get("x-latin") == "é"
    assert "X-a" in headers
    assert "content" not in headers
    assert len(headers) == 4
    assert next(iter(headers)) == ("content-type", "text/plain")
    assert headers.raw is RAW


@pytest.mark.parametrize(
    "url", ["", "api.example/v1", "ftp://h", "http://", "https://u:p@h", "http://h/?q=1", "http://h/#f", "http://[::1"]
)
def test_base_urls_that_are_none(url: str) -> None:
    """Said when the client is made, not when it is used."""
    with pytest.raises(ValueError, match=r".+"):
        HttpClient(url)


def test_default_headers_are_checked_when_the_client_is_made() -> None:
    """A key with a line end in the configuration."""
    with pytest.raises(TransportError, match="control character"):
        HttpClient("http://h", headers=[("authorization", "Bearer k\n")])


def test_an_unknown_transport() -> None:
    """Names the three."""
    with pytest.raises(ValueError, match="native, aiohttp, httpx"):
        HttpClient("http://h", transport="curl")  # type: ignore[arg-type]


class Canned:
    """An exchange that gives prepared pieces, then an end or an error."""

    def __init__(self, pieces: list[bytes], coding: bytes = b"", error: TransportError | None = None) -> None:
        self.status = 200
        self.headers: list[tuple[bytes, bytes]] = []
        self.content_encoding = coding
        self.complete = False
        self.closed = 0
        self._pieces = pieces
        self._error = error

    def rest(self) -> bytes | None:
        return b"".join(self._pieces) if self.complete else None

    async def flow(self, sink: Callable[[bytes], bool], _lane: object = None) -> None:
        while (data := await self.chunk()) and sink(data):
            pass

    async def chunk(self) -> bytes:
        if self._pieces:
            return self._pieces.pop(0)
        if self._error is not None:
            raise self._error
        self.complete = True
        return b""

    def close(self) -> None:
        self.closed += 1

    def release(self) -> None:
        self.closed += 100


def response(source: Canned) -> HttpResponse:
    return HttpResponse(source, asyncio.get_running_loop())


@pytest.mark.asyncio
async def test_reading_whole() -> None:
    """Joined, up to a limit; beyond it the connection is given up."""
    assert await response(Canned([])).read(0) == b""
    assert await response(Canned([b"abc"])).read(3) == b"abc"
    assert await response(Canned([b"ab", b"c"])).read(3) == b"abc"
    source = Canned([b"ab", b"cd", b"ef"])
    with pytest.raises(TransportError) as caught:
        await response(source).read(3)
    assert caught.value.kind == "too_large"
    assert source.closed
    source = Canned([b"ab"], error=TransportError("premature_eof", "x"))
    with pytest.raises(TransportError, match="premature_eof"):
        await response(source).read(100)


@pytest.mark.asyncio
async def test_decoding() -> None:
    """Piece by piece, to a proven end; trouble closes the connection."""
    wire = gzip.compress(b"abc" * 1000)
    source = Canned([wire[:20], wire[20:]], b"gzip")
    got = response(source)
    assert await got.read(10_000) == b"abc" * 1000
    assert await got.chunk() == b""
    source = Canned([wire[:20]], b"gzip")
    with pytest.raises(TransportError, match="premature_eof"):
        await response(source).read(10_000)
    assert source.closed
    source = Canned([], b"compress")
    with pytest.raises(TransportError, match="protocol"):
        response(source)
    assert source.closed


@pytest.mark.asyncio
async def test_what_is_here_needs_no_waiting() -> None:
    """A packed body does, and one that has not ended."""
    source = Canned([b"ab", b"c"])
    assert response(source).at_hand() is None
    source.complete = True
    assert response(source).at_hand() == b"abc"
    packed = Canned([gzip.compress(b"abc")], b"gzip")
    packed.complete = True
    assert response(packed).at_hand() is None
    assert await response(packed).read(10) == b"abc"


@pytest.mark.asyncio
async def test_a_bomb_stops_at_the_limit() -> None:
    """The limit counts what it becomes, not what it was."""
    source = Canned([gzip.compress(bytes(50_000_000))], b"gzip")
    with pytest.raises(TransportError, match="too_large"):
        await response(source).read(1_000_000)


@pytest.mark.asyncio
async def test_leaving_closes() -> None:
    """By the context manager, by close, by release, and by the collector only where it is needed."""
    source = Canned([b"abc"])
    async with response(source) as got:
        assert got.complete is False
    assert source.closed == 1
    source.complete = True
    del got
    source = Canned([b"abc"])
    response(source).release()
    await asyncio.sleep(0)
    assert source.closed == 101  # released, and closed by the collector, since it was never complete
    source = Canned([])
    got = response(source)
    await got.chunk()
    del got
    gc.collect()
    await asyncio.sleep(0)
    assert source.closed == 0


@pytest.mark.asyncio
@pytest.mark.parametrize("transport", ["native", "aiohttp", "httpx"])
async def test_refusals_happen_before_anything_is_sent(transport: str) -> None:
    """Header injection, framing, lengths that do not fit, paths that are none: no connection is even made."""

    async def script(peer: Peer) -> None:
        await peer.request()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"abc"

    async with RawServer(script) as server:
        client = HttpClient(server.url, transport=transport)  # type: ignore[arg-type]
        for more in (
            {"headers": [("x-a", "b\r\nx-evil: 1")]},
            {"headers": [("x-a\r\n", "b")]},
            {"headers": [("transfer-encoding", "chunked")]},
            {"headers": [("content-length", "5")], "content": b"abc"},
            {"headers": [("content-length", "x")], "content": pieces()},
        ):
            with pytest.raises(TransportError) as caught:
                await client.send("POST", "/x", **more)  # type: ignore[arg-type]
            assert (caught.value.kind, caught.value.sent) == ("request", False)
        for path in ("x", "/a b", "/a\r\n"):
            with pytest.raises(TransportError, match="request"):
                await client.send("POST", path)
        assert server.accepted == 0
        await client.aclose()


@pytest.mark.asyncio
async def test_a_client_is_made_outside_a_loop_and_keeps_its_clocks() -> None:
    """As a configuration snapshot is; a call may bring clocks of its own."""
    client = await asyncio.to_thread(HttpClient, "http://127.0.0.1:1", timeouts=Timeouts(connect_s=1))
    with pytest.raises(TransportError, match="connect"):
        await client.send("GET", "/")
    await client.aclose()


@pytest.mark.asyncio
async def test_redirects_are_answers() -> None:
    """Whoever follows one must have looked where it leads."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer(b"", "302 Found", "location: http://169.254.169.254/"))

    async with RawServer(script) as server:
        for transport in ("native", "aiohttp", "httpx"):
            client = HttpClient(server.url, transport=transport)  # type: ignore[arg-type]
            async with await client.send("GET", "/") as got:
                assert (got.status, got.header("location")) == (302, "http://169.254.169.254/")
            await client.aclose()
        assert len(server.heard) == 3


@pytest.mark.asyncio
async def test_a_compressed_stream_left_early_is_closed() -> None:
    """Through the decoder too."""

    async def script(peer: Peer) -> None:
        await peer.request()
        head = CHUNKED.replace(b"\r\n\r\n", b"\r\ncontent-encoding: gzip\r\n\r\n")
        await peer.send(head + chunk(gzip.compress(b"abc")[:-8]))
        await peer.gone.wait()

    async with RawServer(script) as server:
        client = HttpClient(server.url)
        async with await client.send("GET", "/") as got:
            assert await got.chunk() == b"abc"
        await asyncio.wait_for(server.peers[0].gone.wait(), 0.1)
        await client.aclose()
