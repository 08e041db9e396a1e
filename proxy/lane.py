"""The way of a regular event through the house, in one step. A fast path and nothing else: whatever it does not take goes the
long way, through parser, splitter and counters, and comes to the same end.

In most streams nearly every read is one HTTP chunk with one event, and that event is the one before it with another text.
Three rooms put in what they know: the adapter what stands around the text, there and with us; the HTTP client asks only
while its parser waits for the next chunk; the server says where chunks go, and whether they may. A stream that is waited for
is cold: what an object costs here is the fetching of it, more than what is done with it. So one object has it all.
"""

import math
from collections.abc import Callable

_BACKSLASH = 92


class Lane:
    """Of one stream. `write` takes whole chunks of HTTP/1.1; `clock` is the loop's."""

    __slots__ = (
        "_around",
        "_before",
        "_behind",
        "_clock",
        "_front",
        "_ours_before",
        "_ours_behind",
        "_tail",
        "_write",
        "at",
        "frames",
        "known",
        "ready",
        "sent",
        "shut",
    )

    def __init__(self, write: Callable[[bytes], object], clock: Callable[[], float]) -> None:
        self._write = write
        self._clock = clock
        self.known = False
        self.ready = False  # the adapter stands between two events, and knows what is around a text
        self.shut = False  # the client reads too slowly, or has gone
        self.frames = 0  # that were taken
        self.sent = 0  # bytes of them
        self.at = -math.inf  # when the last one was
        self._before = self._behind = self._ours_before = self._ours_behind = b""
        self._front = self._tail = self._around = 0

    def know(self, before: bytes, behind: bytes, ours_before: bytes, ours_behind: bytes) -> None:
        """What stands around the text of an event that is text alone: the upstream's, and what we make of it. Once."""
        self._before, self._behind = before, behind + b"\r\n"
        self._ours_before, self._ours_behind = ours_before, ours_behind + b"\r\n"
        self._front, self._tail = len(before), len(behind) + 2
        self._around = len(ours_before) + len(ours_behind)
        self.known = True

    @property
    def text(self) -> int:
        """Bytes of text that went this way."""
        return self.sent - self.frames * self._around

    def take(self, data: bytes) -> bool:
        """A read of the upstream's socket, passed on if it is one chunk with one regular event; else False, and nothing is."""
        at = data.find(b"\r\n", 1, 8) + 2
        start, stop = at + self._front, len(data) - self._tail
        if (
            self.shut
            or start > stop
            or not data.startswith(self._before, at)
            or not data.endswith(self._behind)
            or data.find(b'"', start, stop) >= 0  # the text ends where it did in the event that was looked into
            or data[stop - 1] == _BACKSLASH
            or not data.startswith(b"%x\r\n" % (len(data) - at - 2))
        ):
            return False
        size = self._around + stop - start
        self.at = self._clock()
        self.frames += 1
        self.sent += size
        self._write(b"%x\r\n%b%b%b" % (size, self._ours_before, data[start:stop], self._ours_behind))
        return True
