"""TLS contexts, and dialling that leaves nothing behind."""

import asyncio
import contextlib
import os
import socket
import ssl
from pathlib import Path

import certifi
import pytest
import trustme

from adapters._http.connection import Connection
from adapters._http.dial import _addresses, dial, tls_context
from adapters._http.errors import TransportError
from adapters._http.head import Origin
from fakes.rawserver import Peer, RawServer


class Nobody:
    """A keeper that keeps nothing."""

    def born(self, connection: Connection) -> None: ...
    def release(self, connection: Connection) -> None: ...
    def forget(self, connection: Connection) -> None: ...
    def gone(self, connection: Connection) -> None: ...


def make() -> Connection:
    return Connection(asyncio.get_running_loop(), Nobody())


def test_a_context_checks_names_and_chains() -> None:
    """Unless it is told not to; it is made once."""
    strict, lax = tls_context(True), tls_context(False)
    assert (strict.verify_mode, strict.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert (lax.verify_mode, lax.check_hostname) == (ssl.CERT_NONE, False)
    assert strict is tls_context(True)
    assert strict.cert_store_stats()["x509_ca"] > 50


def test_a_file_or_a_folder_of_authorities_is_trusted_instead(tmp_path: Path) -> None:
    """Not as well."""
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    assert tls_context(str(tmp_path / "ca.pem")).cert_store_stats()["x509_ca"] == 1
    assert tls_context(str(tmp_path)).verify_mode == ssl.CERT_REQUIRED
    with pytest.raises(OSError, match=r".+"):
        tls_context(str(tmp_path / "missing.pem"))


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_the_environment_may_name_the_authorities(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """As OpenSSL itself would have it."""
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv(variable, str(tmp_path / "ca.pem") if variable == "SSL_CERT_FILE" else str(tmp_path))
    tls_context.cache_clear()
    try:
        assert tls_context(True).cert_store_stats()["x509_ca"] == (1 if variable == "SSL_CERT_FILE" else 0)
    finally:
        tls_context.cache_clear()
    assert os.path.exists(certifi.where())


@pytest.mark.asyncio
async def test_dialling() -> None:
    """A connection that can be used."""

    async def script(peer: Peer) -> None:
        await peer.gone.wait()

    async with RawServer(script) as server:
        connection = await dial(Origin("http", "127.0.0.1", server.port), True, make, 2.0)
        assert connection.usable
        connection.abort()
        async with asyncio.timeout(1):
            await server.until(lambda: not server.open)


@pytest.mark.asyncio
@pytest.mark.parametrize("cancelled", [True, False])
async def test_a_dial_that_is_given_up_leaves_no_socket(cancelled: bool) -> None:
    """By the clock or by its caller, in the middle of a handshake."""

    async def silent(peer: Peer) -> None:
        await peer.gone.wait()

    async with RawServer(silent) as server:
        origin = Origin("https", "localhost", server.port)
        task = asyncio.create_task(dial(origin, False, make, 30.0 if cancelled else 0.1))
        await server.until(lambda: server.accepted == 1)
        if cancelled:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            with pytest.raises(TransportError, match="connect_timeout"):
                await task
        async with asyncio.timeout(1):
            await server.until(lambda: not server.open)


def names(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[int, str, int]) -> None:
    """Make every name resolve to these."""

    async def resolve(host: str, port: int, **_: object) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        return [(family, socket.SOCK_STREAM, 6, "", (ip, its_port or port)) for family, ip, its_port in addresses]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)


async def hold(peer: Peer) -> None:
    await peer.gone.wait()


@pytest.mark.asyncio
async def test_a_refused_address_is_followed_by_the_next_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """And all of them refused is a refusal."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.2", 0))
        dead = (socket.AF_INET, "127.0.0.2", closed.getsockname()[1])
        async with RawServer(hold) as server:
            names(monkeypatch, dead, dead, (socket.AF_INET, "127.0.0.1", 0))
            connection = await asyncio.wait_for(dial(Origin("http", "h", server.port), True, make, 5.0), 0.2)
            connection.abort()
        names(monkeypatch, dead, (socket.AF_INET, "127.0.0.3", dead[2]))
        with pytest.raises(TransportError) as caught:
            await dial(Origin("http", "h", 1), True, make, 5.0)
        assert caught.value.kind == "connect"
        names(monkeypatch)
        with pytest.raises(TransportError, match="connect"):
            await dial(Origin("http", "h", 1), True, make, 5.0)


@pytest.mark.asyncio
async def test_a_silent_address_does_not_cost_the_whole_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next is tried beside it; the loser's socket is closed."""
    with socket.socket() as full, contextlib.ExitStack() as stack:
        full.bind(("127.0.0.2", 0))
        full.listen(0)
        for _ in range(8):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        before = len(os.listdir("/proc/self/fd"))
        async with RawServer(hold) as server:
            names(monkeypatch, (socket.AF_INET, "127.0.0.2", full.getsockname()[1]), (socket.AF_INET, "127.0.0.1", 0))
            connection = await asyncio.wait_for(dial(Origin("http", "h", server.port), True, make, 5.0), 2)
            assert connection.usable
            connection.abort()
            async with asyncio.timeout(1):
                await server.until(lambda: not server.open)
        assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.asyncio
async def test_families_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resolver that lists one family first does not make us try all of it before the other; no address comes twice."""
    four, six = socket.AF_INET, socket.AF_INET6
    names(monkeypatch, (six, "::1", 0), (six, "::2", 0), (six, "::1", 0), (four, "1.1.1.1", 0), (four, "2.2.2.2", 0))
    order = await _addresses(asyncio.get_running_loop(), Origin("http", "h", 5))
    assert order == [
        (six, ("::1", 5)),
        (four, ("1.1.1.1", 5)),
        (six, ("::2", 5)),
        (four, ("2.2.2.2", 5)),
    ]


@pytest.mark.asyncio
async def test_a_missing_authorities_file_is_an_error_of_the_dial(tmp_path: Path) -> None:
    """Not a crash: it may be mounted a moment later."""
    with pytest.raises(TransportError) as caught:
        await dial(Origin("https", "localhost", 1), str(tmp_path / "missing.pem"), make, 2.0)
    assert caught.value.kind == "connect"
    assert not caught.value.sent
