"""Splits reasoning from the answer.

Owns the small machine before / inside / after the reasoning markers. Refuses to know templates: whether generation
starts inside is told. Invariant: reasoning is looked for only at the very start of the output; a marker that the answer
merely talks about stays text. White space at the inner edges of the markers belongs to neither side.
"""

import msgspec

from adapters.llama.text.markers import MarkerScan


class ReasoningMarkers(msgspec.Struct, frozen=True):
    """`open` and `close` as the model writes them; `starts_inside` when the prompt already ended with `open`."""

    open: str = "<think>"
    close: str = "</think>"
    starts_inside: bool = False


_BEFORE, _INSIDE, _AFTER_BLANK, _AFTER = range(4)


class ReasoningSplit:
    """`feed` gives (reasoning text, answer text); `over` tells when every later character is answer text."""

    __slots__ = ("_buffer", "_markers", "_scan", "_started", "_state")

    def __init__(self, markers: ReasoningMarkers) -> None:
        self._markers = markers
        self._scan = MarkerScan((markers.close,))
        self._state = _INSIDE if markers.starts_inside else _BEFORE
        self._buffer = ""  # before: text that may become the opening marker; inside: white space that may be the last
        self._started = False

    @property
    def inside(self) -> bool:
        """Whether the next character is reasoning, as far as can be told."""
        return self._state == _INSIDE

    @property
    def over(self) -> bool:
        """No reasoning can come any more."""
        return self._state == _AFTER

    def feed(self, text: str) -> tuple[str, str]:
        """(reasoning, answer); either may be empty."""
        if self._state == _BEFORE:
            text = self._open(text)
            if self._state != _INSIDE:
                return "", text
        reasoning = ""
        if self._state == _INSIDE:
            reasoning, text = self._inside(text)
        if self._state == _AFTER_BLANK:
            text = text.lstrip()
            if text:
                self._state = _AFTER
        return reasoning, text

    def finish(self) -> tuple[str, str]:
        """What was held back, at the end of the output."""
        state, self._state = self._state, _AFTER
        if state == _BEFORE:
            return "", self._buffer
        if state == _INSIDE:
            tail = self._buffer + self._scan.flush()
            return (tail if tail.strip() else ""), ""
        return "", ""

    def _open(self, text: str) -> str:
        """Decides whether the output begins with the marker; the rest of the text once decided, else empty."""
        buffer = self._buffer + text
        bare = buffer.lstrip()
        # a marker that begins with white space would be eaten by lstrip; none of the known ones does
        if bare.startswith(self._markers.open):
            self._state, self._buffer = _INSIDE, ""
            return bare[len(self._markers.open) :]
        if self._markers.open.startswith(bare):
            self._buffer = buffer
            return ""
        self._state, self._buffer = _AFTER, ""
        return buffer

    def _inside(self, text: str) -> tuple[str, str]:
        """(reasoning, text after the closing marker); trailing white space is held until more reasoning follows."""
        safe, closed, rest = self._scan.feed(text)
        if not self._started:
            safe = safe.lstrip()
        safe = self._buffer + safe
        bare = safe.rstrip()
        self._started = self._started or bool(bare)
        if closed is not None:
            self._state, self._buffer = _AFTER_BLANK, ""
            return bare, rest
        self._buffer = safe[len(bare) :]
        return bare, ""
