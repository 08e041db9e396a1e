"""The transport through httpx's own API, and its pools. The fault suite is in tests/contract."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from adapters._http.errors import TransportError
from adapters._http.head import Origin
from adapters._http.transport import NativeTransport, framing
from fakes.rawserver import CHUNKED, Peer, RawServer, answer, chunk

pytestmark = pytest.mark.asyncio


async def script(peer: Peer) -> None:
    while True:
        heard = await peer.request()
        if heard.target == "/cut":
            await peer.send(CHUNKED + chunk(b"abc"))
            return
        if heard.target == "/bad":
            await peer.send(b"garbage\r\n")
            return
        if heard.target == "/slow":
            await peer.gone.wait()
            return
        await peer.send(
            answer(heard.method.encode() + b" " + heard.target.encode() + b" " + heard.body, "200 Fine", "x-a: 1")
        )


async def test_httpx_may_drive_it() -> None:
    """Bytes, JSON, streams, headers, the same connection."""

    async def pieces() -> AsyncIterator[bytes]:
        yield b"some"
        yield b"more"

    async with (
        RawServer(script) as server,
        httpx.AsyncClient(transport=NativeTransport(), base_url=server.url) as client,
    ):
        got = await client.post("/p?q=%20", content=b"body")
        assert (got.status_code, got.headers["X-A"], got.text) == (200, "1", "POST /p?q=%20 body")
        assert got.http_version == "HTTP/1.1"
        assert (await client.get("/g")).text == "GET /g "
        assert server.accepted == 1
        assert (await client.post("/s", content=pieces())).text == "POST /s somemore"
        async with client.stream("GET", "/x") as response:
            assert [part async for part in response.aiter_raw()] == [b"GET /x "]
        for heard in server.heard:
            assert len(heard.header("host")) == 1


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/cut", httpx.RemoteProtocolError), ("/bad", httpx.RemoteProtocolError), ("/slow", httpx.ReadTimeout)],
)
async def test_httpx_gets_its_own_exceptions(path: str, expected: type[Exception]) -> None:
    """Before the head and in the body."""
    async with (
        RawServer(script) as server,
        httpx.AsyncClient(transport=NativeTransport(), base_url=server.url, timeout=0.2) as client,
    ):
        with pytest.raises(expected):
            await client.get(path)


async def test_httpx_closes_what_it_leaves() -> None:
    """A stream left early closes its socket."""

    async def endless(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED + chunk(b"abc"))
        await peer.gone.wait()

    async with (
        RawServer(endless) as server,
        httpx.AsyncClient(transport=NativeTransport(), base_url=server.url) as client,
    ):
        async with client.stream("GET", "/") as response:
            assert response.status_code == 200
        await asyncio.wait_for(server.peers[0].gone.wait(), 0.1)


async def test_each_origin_has_its_pool() -> None:
    """And a closed transport has none."""
    transport = NativeTransport()
    a, b = Origin("http", "a", 1), Origin("http", "b", 1)
    assert transport.pool(a) is transport.pool(Origin("http", "a", 1))
    assert transport.pool(a) is not transport.pool(b)
    await transport.aclose()
    await transport.aclose()
    with pytest.raises(TransportError, match="closed"):
        transport.pool(a)


async def test_a_transport_serves_one_loop() -> None:
    """A second loop is an error while the first runs; once it has ended, the pools are made anew."""
    transport = NativeTransport()
    origin = Origin("http", "a", 1)
    mine = transport.pool(origin)

    def elsewhere() -> str:
        async def use() -> None:
            transport.pool(origin)

        with pytest.raises(RuntimeError, match="another event loop"):
            asyncio.run(use())
        return "refused"

    assert await asyncio.to_thread(elsewhere) == "refused"
    assert transport.pool(origin) is mine
    await transport.aclose()


@pytest.mark.parametrize(
    ("method", "body", "length", "line"),
    [
        ("POST", b"ab", None, b"content-length: 2\r\n"),
        ("POST", b"", None, b"content-length: 0\r\n"),
        ("GET", b"", None, b""),
        ("GET", b"ab", None, b"content-length: 2\r\n"),
        ("DELETE", b"", None, b""),
    ],
)
async def test_framing_of_bytes(method: str, body: bytes, length: int | None, line: bytes) -> None:
    """No length where there is nothing and nothing is expected."""
    assert framing(method, body, length) == line
