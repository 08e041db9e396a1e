"""What the other transports are given beside their own: limits, cookies, closing. The fault suite is in tests/contract."""

import asyncio
from pathlib import Path

import httpx
import pytest

from adapters._http.errors import TransportError
from adapters._http.foreign import ForeignTransport, Ride, build
from adapters._http.head import Origin
from adapters._http.timeouts import Timeouts
from fakes.rawserver import Peer, RawServer, answer

pytestmark = pytest.mark.asyncio

BOTH = pytest.mark.parametrize("name", ["aiohttp", "httpx"])


def over(name: str, server: RawServer, uds: str | None = None) -> ForeignTransport:
    # A name, not an address: aiohttp takes no cookies from addresses, and we want to see that it takes none at all.
    origin = Origin("http", "localhost", server.port, uds)
    return ForeignTransport(name, origin, verify=True, max_connections=4, keepalive_expiry_s=30)


@BOTH
async def test_no_cookies_travel_between_calls(name: str) -> None:
    """One caller's session with an upstream must not become another's."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(answer(b"", "200 OK", "set-cookie: session=1; Path=/"))

    async with RawServer(script) as server:
        transport = over(name, server)
        for _ in range(2):
            exchange = await transport.exchange("GET", "/", [], b"", None, Timeouts())
            assert await exchange.chunk() == b""
        assert not server.heard[1].header("cookie")
        await transport.aclose()


@BOTH
async def test_nothing_is_added_to_the_headers(name: str) -> None:
    """No library signs our requests."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(answer(b""))

    async with RawServer(script) as server:
        transport = over(name, server)
        await (await transport.exchange("POST", "/", [("host", "h"), ("x-a", "b")], b"x", None, Timeouts())).chunk()
        names = {header.lower() for header, _ in server.heard[0].headers}
        assert names == {"host", "x-a", "content-length"}
        await transport.aclose()


@BOTH
async def test_closing_before_anything_was_sent(name: str) -> None:
    """There is nothing to close, and nothing to send afterwards."""
    transport = ForeignTransport(name, Origin("http", "h", 1), verify=True, max_connections=1, keepalive_expiry_s=1)
    await transport.aclose()
    with pytest.raises(TransportError, match="closed"):
        await transport.exchange("GET", "/", [], b"", None, Timeouts())


@BOTH
async def test_slots_come_back_whatever_happened(name: str) -> None:
    """More failures than slots, and still an answer."""
    good = False

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            if not good:
                return
            await peer.send(answer(b"ok"))

    async with RawServer(script) as server:
        transport = over(name, server)
        for _ in range(10):
            with pytest.raises(TransportError):
                await transport.exchange("POST", "/", [], b"x", None, Timeouts(pool_s=0.5))
        good = True
        exchange = await transport.exchange("POST", "/", [], b"x", None, Timeouts(pool_s=0.5))
        assert await exchange.chunk() == b"ok"
        exchange.close()
        await transport.aclose()


async def test_which_transport_is_built(tmp_path: Path) -> None:
    """By name; TLS authorities are read only where TLS is spoken."""
    httpx_own = build("httpx", Origin("http", "h", 80, str(tmp_path)), str(tmp_path / "missing.pem"), 5)
    assert isinstance(httpx_own, httpx.AsyncHTTPTransport)
    with pytest.raises(OSError, match=r".+"):
        build("aiohttp", Origin("https", "h", 443), str(tmp_path / "missing.pem"), 5)
    await httpx_own.aclose()


async def test_a_ride_knows_whether_it_was_on_a_new_connection() -> None:
    """httpcore says only when it connects."""
    ride = Ride("httpx")
    assert ride.reused
    await ride.trace("http11.send_request_headers.started", {})
    assert ride.reused
    await ride.trace("connection.connect_tcp.started", {})
    assert not ride.reused
    assert not Ride("aiohttp").reused


@BOTH
async def test_a_task_of_its_own_reads_ahead_of_a_cancelled_reader(name: str) -> None:
    """Closing ends that task too."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")
        await peer.gone.wait()

    async with RawServer(script) as server:
        transport = over(name, server)
        exchange = await transport.exchange("GET", "/", [], b"", None, Timeouts())
        reader = asyncio.create_task(exchange.chunk())
        await asyncio.sleep(0.01)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        exchange.close()
        await transport.aclose()
        assert asyncio.all_tasks() - {asyncio.current_task()} <= {peer._task for peer in server.peers}
