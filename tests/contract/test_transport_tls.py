"""One fault suite for the transports: whatever an upstream's socket does, an answer is complete or it is an error.

Each scenario runs over real sockets against byte-exact scripts, over our own transport on uvloop and on asyncio, over
httpx-aiohttp's and over httpx's own. This part: TLS and unix sockets.
"""

import asyncio
import datetime
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from adapters._http import HttpClient, Timeouts, TransportError
from fakes.rawserver import CHUNKED, Peer, RawServer, answer, chunk
from fakes.transport_lines import ALL, AT_ONCE_S, FAST, NATIVE, Line, over, post, replies, talk
from fakes.wires import ALL_CHUNKED, BODY


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """A certificate authority of our own."""
    return trustme.CA()


def server_tls(cert: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["h2", "http/1.1"])
    cert.configure_cert(context)
    return context


@over(*ALL)
async def test_tls_with_a_trusted_authority(line: Line, authority: trustme.CA, tmp_path: Path) -> None:
    """Exchanges, reuse and streaming over TLS; the name is sent, HTTP/1.1 is negotiated."""
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca)
    context = server_tls(authority.issue_cert("localhost"))
    names: list[str | None] = []
    context.sni_callback = lambda sock, name, ctx: names.append(name)
    async with talk(line, replies(ALL_CHUNKED), tls=context, verify=str(ca)) as (server, client):
        for _ in range(3):
            assert await post(client) == BODY
        assert server.accepted == 1
        chosen = server.peers[0].transport.get_extra_info("ssl_object").selected_alpn_protocol()
        assert chosen in (("http/1.1",) if line.native else ("http/1.1", None))
    assert names == ["localhost"]


@pytest.mark.parametrize("goodbye", [True, False])
@over(*NATIVE)
async def test_an_end_over_tls_counts_only_with_a_goodbye(
    line: Line, authority: trustme.CA, tmp_path: Path, goodbye: bool
) -> None:
    """A body read until close can be cut by anybody on the way; TLS says whether it was."""
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca)
    had = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nabc")
        await had.wait()
        if not goodbye:
            peer.transport.abort()

    context = server_tls(authority.issue_cert("localhost"))
    async with (
        talk(line, script, tls=context, verify=str(ca)) as (_, client),
        await client.send("GET", "/x") as response,
    ):
        assert await response.chunk() == b"abc"
        had.set()
        if goodbye:
            assert await response.chunk() == b""
        else:
            with pytest.raises(TransportError, match="premature_eof"):
                await response.chunk()


@over(*NATIVE)
async def test_an_unread_body_over_tls_stops_the_server(line: Line, authority: trustme.CA, tmp_path: Path) -> None:
    """The TLS layer between us and the socket keeps no more than its own small buffer; then all of it arrives."""
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca)
    piece, count = b"x" * 65536, 512
    stuck = asyncio.Event()

    async def script(peer: Peer) -> None:
        peer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (len(piece) * count))
        for _ in range(count):
            writing = asyncio.create_task(peer.send(piece))
            if not (await asyncio.wait({writing}, timeout=0.3))[0]:
                stuck.set()
            await writing
        await peer.gone.wait()

    context = server_tls(authority.issue_cert("localhost"))
    async with talk(line, script, tls=context, verify=str(ca), timeouts=Timeouts()) as (server, client):
        response = await client.send("POST", "/x")
        await asyncio.wait_for(stuck.wait(), 5)
        assert server.peers[0].taken < 16 * 1024 * 1024
        size = 0
        while data := await response.chunk():
            size += len(data)
            assert len(data) <= 1024 * 1024
        assert size == len(piece) * count


@over(*NATIVE)
async def test_a_large_request_over_tls(line: Line, authority: trustme.CA, tmp_path: Path) -> None:
    """Bytes beyond every buffer, and an iterated body, arrive whole; the connection is used again."""
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca)

    async def script(peer: Peer) -> None:
        while True:
            heard = await peer.request()
            await peer.send(answer(b"%d" % len(heard.body)))

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b"x" * 100_000

    context = server_tls(authority.issue_cert("localhost"))
    async with talk(line, script, tls=context, verify=str(ca)) as (server, client):
        assert await post(client, b"x" * 4_000_000) == b"4000000"
        assert await post(client) == b"2"
        assert server.accepted == 1
        assert await post(client, pieces()) == b"4000000"


@over(*ALL)
async def test_tls_closes_at_once(line: Line, authority: trustme.CA, tmp_path: Path) -> None:
    """No waiting for a farewell."""
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca)

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED + chunk(b"abc"))
        await peer.gone.wait()

    context = server_tls(authority.issue_cert("localhost"))
    async with talk(line, script, tls=context, verify=str(ca)) as (server, client):
        response = await client.send("POST", "/x")
        assert await response.chunk() == b"abc"
        response.close()
        await asyncio.wait_for(server.peers[0].gone.wait(), AT_ONCE_S)


@pytest.mark.parametrize("trouble", ["unknown authority", "wrong host", "expired", "not TLS at all"])
@over(*ALL)
async def test_tls_that_cannot_be_trusted(line: Line, authority: trustme.CA, tmp_path: Path, trouble: str) -> None:
    """It is an error before anything is sent."""
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca)
    expired = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC) if trouble == "expired" else None
    cert = authority.issue_cert("other.example" if trouble == "wrong host" else "localhost", not_after=expired)
    tls = None if trouble == "not TLS at all" else server_tls(cert)

    async def script(peer: Peer) -> None:
        await peer.request()
        raise AssertionError("a request came through")

    async def garbage(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await peer.gone.wait()

    async with RawServer(script if tls else garbage, tls=tls) as server:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)  # the server's own TLS complaints
        verify: bool | str = True if trouble == "unknown authority" else str(ca)
        client = HttpClient(
            f"https://localhost:{server.port}",
            transport=line.transport,  # type: ignore[arg-type]
            verify=verify,
            timeouts=FAST,
        )
        with pytest.raises(TransportError) as caught:
            await post(client)
        assert (caught.value.kind, caught.value.sent) == ("tls", False)
        await client.aclose()


@over(*ALL)
async def test_verification_can_be_turned_off(line: Line, authority: trustme.CA) -> None:
    """For those who say so."""
    tls = server_tls(authority.issue_cert("other.example"))
    async with talk(line, replies(answer(b"ok")), tls=tls, verify=False) as (_, client):
        assert await post(client) == b"ok"


@over(*ALL)
async def test_unix_socket(line: Line, tmp_path: Path) -> None:
    """Exchanges, reuse, and closing at once."""
    path = str(tmp_path / "s")

    async def script(peer: Peer) -> None:
        while (await peer.request()).target != "/hold":
            await peer.send(answer(b"ok"))
        await peer.send(CHUNKED + chunk(b"abc"))
        await peer.gone.wait()

    async with talk(line, script, uds=path) as (server, client):
        assert await post(client) == b"ok"
        response = await client.send("POST", "/hold")
        assert await response.chunk() == b"abc"
        assert server.accepted == 1
        assert server.heard[0].header("host") == ["localhost"]
        response.close()
        await asyncio.wait_for(server.peers[0].gone.wait(), AT_ONCE_S)


@over(*ALL)
async def test_a_unix_socket_that_is_not_there(line: Line, tmp_path: Path) -> None:
    """As a refused connection."""
    client = HttpClient("http://localhost", transport=line.transport, uds=str(tmp_path / "no"), timeouts=FAST)  # type: ignore[arg-type]
    with pytest.raises(TransportError) as caught:
        await post(client)
    assert (caught.value.kind, caught.value.sent) == ("connect", False)
    await client.aclose()
