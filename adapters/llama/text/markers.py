"""Search for fixed strings in text that arrives in pieces.

Owns the held-back tail: the longest suffix that could still become a marker. Refuses to know what the markers mean.
Invariant: the match that ends first wins, and of two that end together the one that began first, which is what makes
the result independent of the pieces.
"""

import re
from collections.abc import Iterable


class MarkerScan:
    """Finds the first of some markers; what cannot be part of one is let through at once."""

    __slots__ = ("_first", "_held", "_longest", "_markers")

    def __init__(self, markers: Iterable[str]) -> None:
        self._markers = tuple(dict.fromkeys(m for m in markers if m))
        self._longest = max((len(m) for m in self._markers), default=0)
        firsts = "".join(sorted({m[0] for m in self._markers}))
        self._first = re.compile(f"[{re.escape(firsts)}]" if firsts else r"(?!)")
        self._held = ""

    def feed(self, text: str) -> tuple[str, str | None, str]:
        """(text before any marker, the marker found or None, the text after it)."""
        held = self._held
        if not held and self._first.search(text) is None:
            return text, None, ""  # fast path: no marker can begin here
        buffer = held + text
        best_end, best_start, best = len(buffer) + 1, 0, None
        for marker in self._markers:
            start = buffer.find(marker)
            if start >= 0 and (start + len(marker), start) < (best_end, best_start):
                best_end, best_start, best = start + len(marker), start, marker
        if best is not None:
            self._held = ""
            return buffer[:best_start], best, buffer[best_end:]
        keep = self._partial(buffer)
        self._held = buffer[keep:]
        return buffer[:keep], None, ""

    def flush(self) -> str:
        """The held-back tail: no marker will come of it."""
        held, self._held = self._held, ""
        return held

    def _partial(self, buffer: str) -> int:
        """Where the longest suffix begins that is a proper prefix of a marker; the length if there is none."""
        at = max(0, len(buffer) - self._longest + 1)
        while (found := self._first.search(buffer, at)) is not None:
            at = found.start()
            tail = buffer[at:]
            if any(marker.startswith(tail) for marker in self._markers):
                return at
            at += 1
        return len(buffer)
