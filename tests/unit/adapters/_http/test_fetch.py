"""A GET at an address that was chosen: the name is only spoken, never looked up."""

import asyncio
import ssl
from pathlib import Path

import pytest
import trustme

from adapters._http import Spot, Timeouts, TransportError, fetched
from fakes.rawserver import Peer, RawServer, answer

FAST = Timeouts(connect_s=2.0, first_byte_s=2.0, between_bytes_s=2.0, total_s=5.0, pool_s=2.0)


async def hello(peer: Peer) -> None:
    await peer.request()
    await peer.send(answer(b"hello"))
    await peer.gone.wait()


def spot(server: RawServer, host: str = "no.such.name.invalid", scheme: str = "http") -> Spot:
    return Spot(scheme, host, server.port, "/a%20b?c=d", "127.0.0.1")


@pytest.mark.asyncio
async def test_the_name_is_the_host_header_and_the_address_is_where_it_goes() -> None:
    async with RawServer(hello) as server:
        async with fetched(spot(server), headers=[("accept", "image/*")], timeouts=FAST) as response:
            assert (response.status, await response.read(100)) == (200, b"hello")
        await server.until(lambda: not server.open)  # nothing is kept
    (heard,) = server.heard
    assert heard.target == "/a%20b?c=d"
    assert heard.header("host") == [f"no.such.name.invalid:{server.port}"]
    assert heard.header("accept") == ["image/*"]
    assert heard.header("accept-encoding") == ["identity"]


@pytest.mark.asyncio
async def test_an_address_that_is_none_is_not_resolved() -> None:
    """Were it looked up, `localhost` would be found."""
    place = Spot("http", "files.example.com", 80, "/", "localhost")
    with pytest.raises(TransportError) as caught:
        async with fetched(place, timeouts=FAST):
            raise AssertionError("connected")
    assert (caught.value.kind, caught.value.sent) == ("connect", False)


@pytest.mark.asyncio
@pytest.mark.parametrize(("named", "fits"), [("files.example.com", True), ("other.example.com", False)])
async def test_the_certificate_is_checked_against_the_name(tmp_path: Path, named: str, fits: bool) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(named).configure_cert(context)
    async with RawServer(hello, tls=context) as server:
        place = spot(server, "files.example.com", "https")
        if fits:
            async with fetched(place, timeouts=FAST, verify=str(tmp_path / "ca.pem")) as response:
                assert await response.read(100) == b"hello"
            return
        with pytest.raises(TransportError) as caught:
            async with fetched(place, timeouts=FAST, verify=str(tmp_path / "ca.pem")):
                raise AssertionError("connected")
        assert caught.value.kind == "tls"


@pytest.mark.asyncio
async def test_leaving_early_closes_the_socket() -> None:
    async def endless(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await peer.send(bytes(65536))

    async with RawServer(endless) as server:
        async with fetched(spot(server), timeouts=FAST) as response:
            assert await response.chunk()
        async with asyncio.timeout(2):
            await server.until(lambda: not server.open)
