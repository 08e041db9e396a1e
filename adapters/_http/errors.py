"""What can go wrong between us and an upstream's socket, as one exception with a kind.

Owns `TransportError` and the one table that turns the exceptions of sockets, TLS, httptools, httpx and aiohttp into it.
Refuses to know statuses, retries across upstreams and what a caller is told: adapters translate it into the project's
tree. Invariants: `sent` is False only when certainly no byte of the request left this machine's process; a message
never carries a header value or a body.
"""

import ssl
from collections.abc import Iterator
from typing import Literal

import httpx

Kind = Literal[
    "connect",  # refused, unreachable, name not resolved, unix socket missing
    "connect_timeout",  # TCP and TLS together took longer than connect_s
    "tls",  # handshake or certificate
    "pool_timeout",  # max_connections busy for longer than pool_s
    "first_byte_timeout",  # request written (or stuck in writing), no response head within first_byte_s
    "between_bytes_timeout",  # the body paused for longer than between_bytes_s
    "total_timeout",  # the whole exchange took longer than total_s
    "reset",  # the connection was reset, or closed before any response byte
    "premature_eof",  # orderly close in the middle of the head or the body
    "protocol",  # what came is not HTTP/1.1, or its content coding is corrupt
    "too_large",  # head, trailers or body beyond the limit
    "closed",  # the client or the response was closed on our side
    "request",  # our own request cannot be said in HTTP: CR/LF in a header, body length not as announced
]

TIMEOUTS: frozenset[str] = frozenset(
    {"connect_timeout", "pool_timeout", "first_byte_timeout", "between_bytes_timeout", "total_timeout"}
)


class TransportError(Exception):
    """A failed exchange.

    `kind` says what happened, `sent` whether any request byte may have left, `response_started` whether any response
    byte had arrived. `str()` is one safe line.
    """

    def __init__(self, kind: Kind, message: str, *, sent: bool = False, response_started: bool = False) -> None:
        super().__init__(message)
        self.kind: Kind = kind
        self.message = message
        self.sent = sent
        self.response_started = response_started

    @property
    def is_timeout(self) -> bool:
        """Whether one of the five timeouts ended it."""
        return self.kind in TIMEOUTS

    def again(self) -> "TransportError":
        """A fresh copy, so that a stored failure can be raised more than once without its traceback growing."""
        return TransportError(self.kind, self.message, sent=self.sent, response_started=self.response_started)

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"


# Phase of an exchange in which a foreign exception surfaced.
Phase = Literal["connect", "head", "body"]

# The most telling name in the chain of causes wins, so the table is read from the top. Names instead of classes:
# aiohttp is not imported just to name its exceptions.
_BY_NAME: tuple[tuple[str, Kind], ...] = (
    ("PoolTimeout", "pool_timeout"),
    ("SSLCertVerificationError", "tls"),
    ("CertificateError", "tls"),
    ("ClientConnectorCertificateError", "tls"),
    ("ClientConnectorSSLError", "tls"),
    ("SSLError", "tls"),
    ("ConnectTimeout", "connect_timeout"),
    ("ConnectionTimeoutError", "connect_timeout"),
    ("ClientConnectorError", "connect"),
    ("ConnectError", "connect"),
    ("gaierror", "connect"),
    ("ConnectionRefusedError", "connect"),
    ("LineTooLong", "too_large"),
    ("ContentLengthError", "premature_eof"),
    ("TransferEncodingError", "protocol"),
    ("BadHttpMessage", "protocol"),
    ("BadStatusLine", "protocol"),
    ("HttpParserError", "protocol"),
    ("ClientConnectionResetError", "reset"),
    ("ServerDisconnectedError", "reset"),
    ("ConnectionResetError", "reset"),
    ("BrokenPipeError", "reset"),
    ("ConnectionAbortedError", "reset"),
    ("LocalProtocolError", "request"),
    ("UnsupportedProtocol", "request"),
    ("InvalidURL", "request"),
    ("DecodingError", "protocol"),
    ("RemoteProtocolError", "protocol"),
    ("ClientResponseError", "protocol"),
    ("ClientPayloadError", "premature_eof"),
    ("ReadError", "reset"),
    ("WriteError", "reset"),
    ("ClientOSError", "reset"),
    ("StreamClosed", "closed"),
)

# What these parsers say in words only.
_BY_WORDS: tuple[tuple[str, Kind], ...] = (
    ("peer closed connection without sending complete message body", "premature_eof"),
    ("not enough data", "premature_eof"),
    ("server disconnected without sending a response", "reset"),
    ("server disconnected", "reset"),
    ("payload is not completed", "premature_eof"),
    ("got more than", "too_large"),
    ("too much data for the header", "too_large"),
    ("header value is too long", "too_large"),
    ("receive buffer too long", "too_large"),
)

_NEVER_SENT: frozenset[str] = frozenset({"connect", "connect_timeout", "tls", "pool_timeout", "request"})


def _causes(exc: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = exc
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def from_foreign(exc: BaseException, phase: Phase, *, sent: bool = True) -> TransportError:
    """Map whatever a library raised while in `phase`. `sent` is what is known where the name is silent."""
    if isinstance(exc, TransportError):
        return exc
    chain = list(_causes(exc))
    words = " ".join(str(c) for c in chain).lower()
    names = {cls.__name__ for c in chain for cls in type(c).__mro__}
    kind: Kind | None = next((k for text, k in _BY_WORDS if text in words), None)
    if kind is None and names & {"ReadTimeout", "SocketTimeoutError"}:
        kind = "between_bytes_timeout" if phase == "body" else "first_byte_timeout"
    if kind is None and "WriteTimeout" in names:
        kind = "first_byte_timeout"
    if kind is None:
        kind = next((k for name, k in _BY_NAME if name in names), None)
    if kind is None and isinstance(exc, TimeoutError | httpx.TimeoutException):
        late: dict[Phase, Kind] = {
            "connect": "connect_timeout",
            "head": "first_byte_timeout",
            "body": "between_bytes_timeout",
        }
        kind = late[phase]
    if kind is None:
        kind = "connect" if phase == "connect" else "reset" if isinstance(exc, OSError) else "protocol"
    left = sent and kind not in _NEVER_SENT
    return TransportError(kind, _line(exc), sent=left, response_started=phase == "body")


def from_dial(exc: BaseException) -> TransportError:
    """Map what opening a connection raised: nothing has been sent."""
    if isinstance(exc, TimeoutError):
        return TransportError("connect_timeout", "no connection in time")
    if isinstance(exc, ssl.SSLError | ssl.CertificateError):
        return TransportError("tls", _line(exc))
    if isinstance(exc, OSError):
        return TransportError("connect", _line(exc))
    return from_foreign(exc, "connect", sent=False)


def from_loss(exc: BaseException | None, *, started: bool, sent: bool) -> TransportError:
    """Map the loss of a connection during an exchange; `exc` is None for an orderly close."""
    if exc is not None and not isinstance(exc, ssl.SSLError):
        return TransportError("reset", _line(exc), sent=sent, response_started=started)
    if exc is not None:
        return TransportError("premature_eof", _line(exc), sent=sent, response_started=started)
    if not started:
        return TransportError("reset", "the upstream closed the connection without a response", sent=sent)
    return TransportError("premature_eof", "the response ended early", sent=sent, response_started=True)


def _line(exc: BaseException) -> str:
    """One short line: exception texts of libraries may span lines and quote what came over the wire."""
    text = " ".join(str(exc).split())
    return f"{type(exc).__name__}: {text[:200]}" if text else type(exc).__name__


# TransportError kind: what httpx calls it, for those who drive the transport through httpx's own API.
_AS_HTTPX: dict[str, type[httpx.TransportError]] = {
    "connect": httpx.ConnectError,
    "tls": httpx.ConnectError,
    "connect_timeout": httpx.ConnectTimeout,
    "pool_timeout": httpx.PoolTimeout,
    "first_byte_timeout": httpx.ReadTimeout,
    "between_bytes_timeout": httpx.ReadTimeout,
    "total_timeout": httpx.ReadTimeout,
    "reset": httpx.ReadError,
    "premature_eof": httpx.RemoteProtocolError,
    "protocol": httpx.RemoteProtocolError,
    "too_large": httpx.RemoteProtocolError,
    "closed": httpx.ReadError,
    "request": httpx.LocalProtocolError,
}


def to_httpx(error: TransportError, request: httpx.Request) -> httpx.TransportError:
    """The same failure as an httpx exception, with `request` attached."""
    return _AS_HTTPX[error.kind](str(error), request=request)
