"""What an exchange may ask of the connection it runs on, and how the small words of the wire are read."""

from typing import Protocol

import httptools

from adapters._http.errors import Kind, TransportError
from proxy.lane import Lane

MAX_HEAD = 64 * 1024  # bytes of status line and headers, interim responses and trailers included
MAX_HEADERS = 256  # fields


class Wire(Protocol):
    """What an exchange may ask of the connection it runs on. `lane` is offered each read; what it refuses unsets it."""

    lane: Lane | None

    def abort(self) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def watch(self) -> None: ...


def idle_hint(value: bytes) -> float | None:
    """The seconds of `Keep-Alive: timeout=5, max=100`."""
    for part in value.split(b","):
        name, _, number = part.strip().partition(b"=")
        if name.lower() == b"timeout" and number.strip().isdigit():
            return float(number)
    return None


def complaint(exc: BaseException) -> str:
    """What the parser says is wrong, without what came over the wire."""
    if isinstance(exc, httptools.HttpParserUpgrade):
        return "the upstream switched protocols unasked"
    cause = exc.__context__
    text = " ".join(str(cause if isinstance(exc, httptools.HttpParserCallbackError) and cause else exc).split())
    return f"not HTTP/1.1: {text[:120]}"


def framed(headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether a response says where its body ends; if not, the connection's end does."""
    return any(name.lower() in (b"content-length", b"transfer-encoding") for name, _ in headers)


def overdue(kind: Kind, writing: bool) -> str:
    """What a clock that ran out means; `writing`: while the request was on its way."""
    if kind == "total_timeout":
        return "the exchange took too long"
    if kind == "between_bytes_timeout":
        return "the body paused for too long"
    return "the request could not be written in time" if writing else "no response head in time"


def malformed(what: str) -> TransportError:
    """The failure for a response that is none."""
    return TransportError("protocol", what, sent=True, response_started=True)


def too_large() -> TransportError:
    """The failure for a head that does not end."""
    what = f"more than {MAX_HEAD} bytes or {MAX_HEADERS} fields of head"
    return TransportError("too_large", what, sent=True, response_started=True)
