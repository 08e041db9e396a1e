"""Server-sent events as bytes: splitting what upstreams send, and framing what callers get. Sans-IO: no socket, no clock.

Splitting follows the HTML standard (CR, LF and CRLF end a line, a BOM is skipped, `data` lines join with LF, one space
after the colon is dropped) at the byte level, so that a character or a line end cut by a read stays whole. It does not
split on U+2028 and its kin: they are legal inside JSON strings.
"""

from typing import Any

import msgspec

from proxy.errors import TraghettoError

CONTENT_TYPE = "text/event-stream; charset=utf-8"
DONE = b"data: [DONE]\n\n"
KEEPALIVE = b": keep-alive\n\n"
MAX_EVENT = 8 << 20  # bytes that may wait for their blank line

_BOM = b"\xef\xbb\xbf"
_encode = msgspec.json.Encoder().encode


class EventTooLarge(ValueError):
    """No blank line within MAX_EVENT bytes: this is not an event stream."""


class Splitter:
    """Bytes as they come → bytes that end at an event boundary, line ends made LF.

    `feed` gives all events that are complete now (b"" if none is), still framed: cheap to look through and to pass on.
    `rest` gives what came behind the last boundary once the stream is over.
    """

    __slots__ = ("_cr", "_started", "held")

    def __init__(self) -> None:
        self.held = b""  # bytes that wait for the rest of their event
        self._cr = False  # a CR was seen: this upstream does not write plain LF
        self._started = False

    def feed(self, data: bytes) -> bytes:
        """Raises EventTooLarge when the events never end."""
        if self.held:
            data = self.held + data
        if not self._started:
            if len(data) < 3 and _BOM.startswith(data):
                self.held = data
                return b""
            self._started = True
            data = data.removeprefix(_BOM)
        if self._cr or b"\r" in data:
            data = self._without_cr(data)
            if not data:
                return b""
        if data.endswith(b"\n\n"):  # fast path: nearly every read ends at a boundary
            self.held = b""
            return data
        cut = data.rfind(b"\n\n")
        if cut < 0:
            self.held = data + self.held if self._cr and self.held == b"\r" else data
            if len(self.held) > MAX_EVENT:
                raise EventTooLarge(f"no event boundary within {MAX_EVENT} bytes")
            return b""
        tail = data[cut + 2 :]
        self.held = tail + self.held if self._cr and self.held == b"\r" else tail
        return data[: cut + 2]

    def _without_cr(self, data: bytes) -> bytes:
        """LF line ends; a CR at the very end waits in `held`, since an LF may follow."""
        self._cr = True
        self.held = b""
        if data.endswith(b"\r"):
            data, self.held = data[:-1], b"\r"
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def rest(self) -> bytes:
        """What is left, as a last block that ends at a boundary; b"" if nothing but blank lines is."""
        left, self.held = self.held.replace(b"\r", b"\n").strip(b"\n"), b""
        return left + b"\n\n" if left else b""


class Event(msgspec.Struct):
    """One dispatched event. `data` is None where the event had none (comments, `id:` or `retry:` alone)."""

    data: bytes | None
    name: str = ""
    stray: bytes | None = None  # the value of an `error:` field, as old llama.cpp sends it


def events(block: bytes) -> list[Event]:
    """A block from a Splitter → its events. Comments, `id` and `retry` are dropped: they carry nothing for our callers."""
    return [event for piece in block.split(b"\n\n") if piece and (event := _event(piece)) is not None]


def _event(piece: bytes) -> Event | None:
    data: list[bytes] = []
    name, stray = "", None
    for line in piece.split(b"\n"):
        field, colon, value = line.partition(b":")
        if not field and colon:
            continue
        if value.startswith(b" "):
            value = value[1:]
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value.decode("utf-8", "replace")
        elif field == b"error":
            stray = value
    if not data and not name and stray is None:
        return None
    return Event(b"\n".join(data) if data else None, name, stray)


def frame(value: Any) -> bytes:
    """An object → one event."""
    return b"data: " + _encode(value) + b"\n\n"


def comment(text: str) -> bytes:
    """A comment that tells a waiting person something; clients skip it."""
    return b": " + " ".join(text.split()).encode() + b"\n\n"


def error_object(error: TraghettoError) -> dict[str, Any]:
    """The object form of an error, which is the only one a stream may carry."""
    inner: dict[str, Any] = {
        "message": error.message,
        "type": error.type,
        "param": error.param,
        "code": error.code,
    }
    if error.details:
        inner["details"] = error.details
    return {"error": inner}


def error_frame(error: TraghettoError) -> bytes:
    """An error inside a stream; behind it the stream closes without `[DONE]`."""
    return frame(error_object(error))
