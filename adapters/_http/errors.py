"""What can go wrong between us and an upstream's socket, as one exception with a kind.

Owns `TransportError` and the one table that turns the exceptions of sockets, TLS, httptools, httpx and aiohttp into it.
Refuses to know statuses, retries across upstreams and what a caller is told: adapters translate it into the project's
tree. Invariants: `sent` is False only when certainly no byte of the request left this machine's process; a message
never carries a header value or a body.
"""

import ssl
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

# What an exception's class, or the nearest of its bases, means. Names instead of classes: aiohttp and httpcore are not
# imported just to name what they raise. The innermost cause that is listed decides, for outer ones know less: to
# httpx-aiohttp every lost connection is a ConnectTimeout.
_BY_NAME: dict[str, Kind] = {
    "SSLCertVerificationError": "tls",
    "CertificateError": "tls",
    "SSLError": "tls",
    "gaierror": "connect",
    "ConnectionRefusedError": "connect",
    "ConnectionResetError": "reset",
    "BrokenPipeError": "reset",
    "ConnectionAbortedError": "reset",
    "PoolTimeout": "pool_timeout",
    "ConnectTimeout": "connect_timeout",
    "ConnectionTimeoutError": "connect_timeout",
    "ConnectError": "connect",
    "ClientConnectorError": "connect",
    "LineTooLong": "too_large",
    "ContentLengthError": "premature_eof",
    "TransferEncodingError": "protocol",
    "BadHttpMessage": "protocol",
    "HttpParserError": "protocol",
    "ClientPayloadError": "premature_eof",
    "ClientResponseError": "protocol",
    "ServerDisconnectedError": "reset",
    "ClientConnectionError": "reset",
    "ReadError": "reset",
    "WriteError": "reset",
    "LocalProtocolError": "request",
    "UnsupportedProtocol": "request",
    "InvalidURL": "request",
    "DecodingError": "protocol",
    "RemoteProtocolError": "protocol",
    "StreamClosed": "closed",
}
# Part of a handshake's ordinary course, and in the chain of causes of whatever ended it.
_SILENT = frozenset({"SSLWantReadError", "SSLWantWriteError"})

# What these parsers say in words only.
_BY_WORDS: tuple[tuple[str, Kind], ...] = (
    ("peer closed connection without sending complete message body", "premature_eof"),
    ("not enough data", "premature_eof"),
    ("payload is not completed", "premature_eof"),
    ("server disconnected", "reset"),
    ("got more than", "too_large"),
    ("too much data for the header", "too_large"),
    ("header value is too long", "too_large"),
    ("receive buffer too long", "too_large"),
)

_NEVER_SENT: frozenset[str] = frozenset({"connect", "connect_timeout", "tls", "pool_timeout", "request"})
_LATE: dict[Phase, Kind] = {
    "connect": "connect_timeout",
    "head": "first_byte_timeout",
    "body": "between_bytes_timeout",
}


def _chain(exc: BaseException) -> list[BaseException]:
    """The exception and its causes, the innermost first."""
    out: list[BaseException] = []
    current: BaseException | None = exc
    while current is not None and current not in out:
        out.append(current)
        current = current.__cause__ or current.__context__
    return [e for e in reversed(out) if type(e).__name__ not in _SILENT]


def _kind(chain: list[BaseException], phase: Phase) -> Kind | None:
    words = " ".join(str(e) for e in chain).lower()
    for text, kind in _BY_WORDS:
        if text in words:
            return kind
    for exc in chain:
        for cls in type(exc).__mro__:
            name = cls.__name__
            if name in _BY_NAME:
                return _BY_NAME[name]
            if name in ("ReadTimeout", "SocketTimeoutError"):
                return _LATE[phase]
            if name == "WriteTimeout":
                return "first_byte_timeout"
    return None


def from_foreign(exc: BaseException, phase: Phase, *, sent: bool = True) -> TransportError:
    """Map whatever a library raised while in `phase`. `sent` is what is known where the name is silent."""
    if isinstance(exc, TransportError):
        return exc
    chain = _chain(exc)
    kind = _kind(chain, phase)
    if kind is None and isinstance(exc, TimeoutError | httpx.TimeoutException):
        kind = _LATE[phase]
    if kind is None:
        kind = "connect" if phase == "connect" else "reset" if isinstance(exc, OSError) else "protocol"
    # Only what the system says is quoted: the texts of HTTP libraries carry headers.
    said = next((_line(e) for e in chain if isinstance(e, OSError)), type(chain[0]).__name__)
    return TransportError(kind, said, sent=sent and kind not in _NEVER_SENT, response_started=phase == "body")


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
    if not started or (exc is not None and not isinstance(exc, ssl.SSLError)):
        said = _line(exc) if exc is not None else "the upstream closed the connection without a response"
        return TransportError("reset", said, sent=sent, response_started=started)
    said = _line(exc) if exc is not None else "the response ended early"
    return TransportError("premature_eof", said, sent=sent, response_started=True)


def _line(exc: BaseException) -> str:
    """One short line."""
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
