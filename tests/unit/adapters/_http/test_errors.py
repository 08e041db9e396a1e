"""Every foreign exception becomes one TransportError, and what it says is safe."""

import errno
import socket
import ssl
from typing import Any

import aiohttp
import httpcore
import httpx
import pytest

from adapters._http.errors import TransportError, from_dial, from_foreign, from_loss, to_httpx


def caused(outer: BaseException, *inner: BaseException) -> BaseException:
    """`outer` raised from the first of `inner`, that from the next, and so on."""
    current = outer
    for exc in inner:
        current.__cause__ = exc
        current = exc
    return outer


class Key:
    """What aiohttp's connector errors want to know of a connection."""

    host, port, ssl, is_ssl, proxy = "h", 1, None, False, None


KEY: Any = Key()


@pytest.mark.parametrize(
    ("exc", "phase", "kind"),
    [
        (httpx.ConnectError("x"), "head", "connect"),
        (httpx.ConnectTimeout("x"), "head", "connect_timeout"),
        (httpx.PoolTimeout("x"), "head", "pool_timeout"),
        (httpx.ReadTimeout("x"), "head", "first_byte_timeout"),
        (httpx.ReadTimeout("x"), "body", "between_bytes_timeout"),
        (httpx.WriteTimeout("x"), "head", "first_byte_timeout"),
        (httpx.ReadError("x"), "body", "reset"),
        (httpx.RemoteProtocolError("illegal status line"), "head", "protocol"),
        (httpx.RemoteProtocolError("Server disconnected without sending a response."), "head", "reset"),
        (
            httpx.RemoteProtocolError("peer closed connection without sending complete message body (received 3)"),
            "body",
            "premature_eof",
        ),
        (httpx.LocalProtocolError("x"), "head", "request"),
        (caused(httpx.ConnectError("x"), httpcore.ConnectError("x"), ssl.SSLCertVerificationError("no")), "head", "tls"),
        (caused(httpx.ConnectTimeout("x"), TimeoutError(), ssl.SSLWantReadError("again")), "head", "connect_timeout"),
        (aiohttp.ServerDisconnectedError(), "head", "reset"),
        (caused(httpx.ConnectTimeout("x"), aiohttp.ServerDisconnectedError()), "head", "reset"),
        (
            caused(httpx.ConnectTimeout("x"), aiohttp.ClientOSError(104, "reset"), ConnectionResetError(104, "reset")),
            "body",
            "reset",
        ),
        (
            caused(httpx.ConnectTimeout("x"), aiohttp.ClientConnectorError(KEY, ConnectionRefusedError(111, "no"))),
            "head",
            "connect",
        ),
        (caused(httpx.ReadTimeout("x"), aiohttp.SocketTimeoutError()), "body", "between_bytes_timeout"),
        (caused(httpx.ReadError("x"), aiohttp.ClientPayloadError("Response payload is not completed")), "body", "premature_eof"),
        (caused(httpx.ReadError("x"), aiohttp.ClientPayloadError("y")), "body", "premature_eof"),
        (TimeoutError(), "connect", "connect_timeout"),
        (TimeoutError(), "head", "first_byte_timeout"),
        (TimeoutError(), "body", "between_bytes_timeout"),
        (OSError(errno.EIO, "broken disk"), "body", "reset"),
        (OSError(errno.ENETUNREACH, "no route"), "connect", "connect"),
        (ValueError("what is this"), "head", "protocol"),
    ],
)  # fmt: skip
def test_each_foreign_exception_has_a_kind(exc: BaseException, phase: Any, kind: str) -> None:
    """By its innermost cause that is known, then by the phase; nothing is sent where that is certain."""
    error = from_foreign(exc, phase)
    assert error.kind == kind
    assert error.sent == (kind not in ("connect", "connect_timeout", "tls", "pool_timeout", "request"))
    assert error.response_started == (phase == "body")


def test_our_own_error_passes_through() -> None:
    """Mapping twice is mapping once."""
    error = TransportError("closed", "x", sent=True)
    assert from_foreign(error, "connect") is error


def test_a_chain_of_causes_may_be_a_ring() -> None:
    """A library's mistake is not our endless loop."""
    a, b = ValueError("a"), ValueError("b")
    a.__cause__, b.__cause__ = b, a
    assert from_foreign(a, "head").kind == "protocol"


def test_messages_quote_the_system_and_nobody_else() -> None:
    """An HTTP library's text may carry a header; the system's does not."""
    secret = "set-cookie: session=hunter2"
    assert "hunter2" not in str(from_foreign(httpx.RemoteProtocolError(secret), "head"))
    said = str(from_foreign(caused(httpx.ReadError(secret), ConnectionResetError(104, "Connection reset")), "body"))
    assert "hunter2" not in said
    assert "Connection reset" in said
    assert "\n" not in str(from_dial(OSError(1, "two\nlines")))


@pytest.mark.parametrize(
    ("exc", "kind"),
    [
        (TimeoutError(), "connect_timeout"),
        (ConnectionRefusedError(111, "refused"), "connect"),
        (socket.gaierror(-2, "unknown"), "connect"),
        (FileNotFoundError(2, "no socket"), "connect"),
        (ssl.SSLCertVerificationError(1, "expired"), "tls"),
        (ssl.SSLError(1, "handshake"), "tls"),
        (ConnectionResetError(104, "in the handshake"), "connect"),
    ],
)
def test_dialling_never_sent_anything(exc: BaseException, kind: str) -> None:
    """Whatever went wrong with it."""
    error = from_dial(exc)
    assert (error.kind, error.sent, error.response_started) == (kind, False, False)


@pytest.mark.parametrize(
    ("exc", "started", "kind"),
    [
        (None, False, "reset"),
        (None, True, "premature_eof"),
        (ConnectionResetError(104, "r"), False, "reset"),
        (ConnectionResetError(104, "r"), True, "reset"),
        (ssl.SSLEOFError(8, "no goodbye"), True, "premature_eof"),
        (ssl.SSLEOFError(8, "no goodbye"), False, "reset"),
    ],
)
def test_a_lost_connection(exc: BaseException | None, started: bool, kind: str) -> None:
    """Without an answer it is a reset however it went; in an answer an orderly close is an early end."""
    error = from_loss(exc, started=started, sent=True)
    assert (error.kind, error.sent, error.response_started) == (kind, True, started)


def test_a_copy_says_the_same() -> None:
    """It is another object, without the first one's traceback."""
    error = TransportError("reset", "x", sent=True, response_started=True)
    again = error.again()
    assert again is not error
    assert vars(again) == vars(error)
    assert str(again) == "reset: x"


def test_timeouts_are_told_apart() -> None:
    """Five of the kinds are clocks."""
    assert TransportError("total_timeout", "x").is_timeout
    assert not TransportError("connect", "x").is_timeout


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("connect", httpx.ConnectError),
        ("tls", httpx.ConnectError),
        ("pool_timeout", httpx.PoolTimeout),
        ("first_byte_timeout", httpx.ReadTimeout),
        ("premature_eof", httpx.RemoteProtocolError),
        ("request", httpx.LocalProtocolError),
    ],
)
def test_as_httpx_says_it(kind: Any, expected: type[httpx.TransportError]) -> None:
    """For those who drive the transport through httpx."""
    request = httpx.Request("GET", "http://h/")
    error = to_httpx(TransportError(kind, "x"), request)
    assert type(error) is expected
    assert error.request is request
