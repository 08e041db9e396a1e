"""Token bytes to text, across token borders.

Owns the incomplete character at the end of what came so far. Refuses to know tokens. Invariant: however the bytes are
cut, the joined output equals `data.decode("utf-8", "replace")`.
"""

from codecs import utf_8_decode


class Utf8Decoder:
    """Incremental decoder; invalid bytes become U+FFFD, an incomplete character waits for its rest."""

    __slots__ = ("_tail",)

    def __init__(self) -> None:
        self._tail = b""

    def feed(self, piece: bytes) -> str:
        """Text that is complete after `piece`; may be empty."""
        if not self._tail:
            try:
                return piece.decode()  # fast path: nothing pending, nothing split
            except UnicodeDecodeError:
                pass
        data = self._tail + piece
        text, used = utf_8_decode(data, "replace", False)
        self._tail = data[used:]
        return text

    def finish(self) -> str:
        """What is left at the end: a cut character becomes U+FFFD."""
        text = self._tail.decode("utf-8", "replace")
        self._tail = b""
        return text
