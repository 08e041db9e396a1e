"""A response read byte by byte: HTTP/1.1 as a checker sees it, with every oddity kept.

Owns the parsing of one response and the arrival times of its body. Touches no socket and judges nothing: what is wrong
lands in `problems`. Invariant: `feed` may be given any split of the same bytes and ends in the same state.
"""

from typing import Literal

End = Literal["open", "complete", "closed", "reset", "timeout", "unreachable"]

_HEAD_LIMIT = 1 << 20


class Response:
    """One answer. Times are seconds since the request was sent."""

    def __init__(self, head_only: bool = False) -> None:
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self.head_size = 0
        self.head_at = 0.0
        self.framing = ""  # length, chunked, close, none
        self.body = bytearray()
        self.arrivals: list[tuple[float, int]] = []  # (time, length of the body from then on)
        self.extra = b""
        self.problems: list[str] = []
        self.end: End = "open"
        self.ended_at = 0.0
        self._head_only = head_only
        self._buffer = b""
        self._left = 0
        self._state = self._read_head

    def header(self, name: str) -> str | None:
        """The first header of that (lower-case) name."""
        return next((value for key, value in self.headers if key == name), None)

    @property
    def content_type(self) -> str:
        return (self.header("content-type") or "").partition(";")[0].strip().lower()

    @property
    def whole(self) -> bool:
        """Whether the answer came to its end by the rules of HTTP, with nothing wrong on the way."""
        return self.end == "complete" and not self.problems

    def arrived(self, offset: int) -> float:
        """When the body's byte at `offset` was there."""
        return next((at for at, length in self.arrivals if length > offset), self.ended_at)

    def feed(self, data: bytes, at: float) -> None:
        """Take in what was read at time `at`."""
        if self._over():
            self._beyond(data)
            return
        self._buffer += data
        while not self._over() and self._state(at):
            pass
        if self._over():
            self._beyond(self._buffer)
            self._buffer = b""

    def stop(self, end: End, at: float) -> None:
        """The connection ended (or our patience did)."""
        if self.end != "open":
            return
        if end == "closed" and self.framing == "close":
            end = "complete"
        self.end, self.ended_at = end, at
        if end != "complete":
            what = {"closed": "closed", "reset": "reset", "timeout": "silent for too long", "unreachable": "refused"}
            where = f"after {len(self.body)} body bytes" if self.status else "before a response head"
            self.problems.append(f"connection {what.get(end, end)} {where}")

    def _over(self) -> bool:
        return self.end != "open"

    # -- states: each consumes from the buffer and says whether to go on --------------------------------

    def _read_head(self, at: float) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if not b"HTTP/1.".startswith(self._buffer[:7]) and not self._buffer.startswith(b"HTTP/1."):
                return self._broken(f"no response head but {self._buffer[:40]!r}", at)
            if len(self._buffer) > _HEAD_LIMIT:
                return self._broken("a response head without an end", at)
            return False
        head, self._buffer = self._buffer[:end], self._buffer[end + 4 :]
        lines = head.split(b"\r\n")
        parts = lines[0].split(b" ", 2)
        if len(parts) < 2 or not parts[0].startswith(b"HTTP/1.") or not parts[1].isdigit():
            return self._broken(f"no status line but {lines[0][:60]!r}", at)
        if 100 <= int(parts[1]) < 200:
            return True
        self.status, self.head_size, self.head_at = int(parts[1]), len(head) + 4, at
        for line in lines[1:]:
            name, colon, value = line.partition(b":")
            if not colon:
                self.problems.append(f"a header line without a colon: {line[:60]!r}")
            self.headers.append((name.decode("latin-1").strip().lower(), value.decode("latin-1").strip()))
        return self._frame(at)

    def _frame(self, at: float) -> bool:
        length = self.header("content-length")
        if self._head_only or self.status in (204, 304):
            self.framing = "none"
            return self._complete(at)
        if (self.header("transfer-encoding") or "").lower().endswith("chunked"):
            self.framing, self._state = "chunked", self._read_size
            if length is not None:
                self.problems.append("both transfer-encoding: chunked and content-length")
            return True
        if length is None:
            self.framing, self._state = "close", self._read_rest
            return True
        if not length.isdigit():
            return self._broken(f"content-length: {length}", at)
        self.framing, self._left, self._state = "length", int(length), self._read_length
        return True

    def _take(self, data: bytes, at: float) -> None:
        if data:
            self.body += data
            self.arrivals.append((at, len(self.body)))

    def _read_rest(self, at: float) -> bool:
        self._take(self._buffer, at)
        self._buffer = b""
        return False

    def _read_length(self, at: float) -> bool:
        data, self._buffer = self._buffer[: self._left], self._buffer[self._left :]
        self._take(data, at)
        self._left -= len(data)
        return self._complete(at) if self._left == 0 else False

    def _read_size(self, at: float) -> bool:
        line, found, rest = self._buffer.partition(b"\r\n")
        if not found:
            return self._broken(f"a chunk size of {line[:40]!r}", at) if len(line) > 256 else False
        try:
            self._left = int(line.partition(b";")[0], 16)
        except ValueError:
            return self._broken(f"a chunk size of {line[:40]!r}", at)
        self._buffer = rest
        self._state = self._read_chunk if self._left else self._read_trailers
        return True

    def _read_chunk(self, at: float) -> bool:
        if self._left:
            data, self._buffer = self._buffer[: self._left], self._buffer[self._left :]
            self._take(data, at)
            self._left -= len(data)
            if self._left:
                return False
        if len(self._buffer) < 2:
            return False
        if self._buffer[:2] != b"\r\n":
            return self._broken(f"a chunk that goes on with {self._buffer[:20]!r}", at)
        self._buffer, self._state = self._buffer[2:], self._read_size
        return True

    def _read_trailers(self, at: float) -> bool:
        line, found, rest = self._buffer.partition(b"\r\n")
        if not found:
            return False
        self._buffer = rest
        return self._complete(at) if not line else True

    def _complete(self, at: float) -> bool:
        self.end, self.ended_at = "complete", at
        return False

    def _broken(self, problem: str, at: float) -> bool:
        self.problems.append(problem)
        self.end, self.ended_at, self._buffer = "closed", at, b""
        return False

    def _beyond(self, data: bytes) -> None:
        if data and not self.extra:
            self.problems.append(f"bytes beyond the end of the body: {data[:40]!r}")
        self.extra += data
