"""TLS contexts, and dialling that leaves nothing behind."""

import asyncio
import os
import ssl
from pathlib import Path

import certifi
import pytest
import trustme

from adapters._http.connection import Connection
from adapters._http.dial import dial, tls_context
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


@pytest.mark.asyncio
async def test_a_missing_authorities_file_is_an_error_of_the_dial(tmp_path: Path) -> None:
    """Not a crash: it may be mounted a moment later."""
    with pytest.raises(TransportError) as caught:
        await dial(Origin("https", "localhost", 1), str(tmp_path / "missing.pem"), make, 2.0)
    assert caught.value.kind == "connect"
    assert not caught.value.sent
