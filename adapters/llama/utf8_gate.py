"""Keeps constrained answers valid UTF-8.

Owns which tokens may follow an unfinished character. Refuses to know grammars: llama.cpp's reads any bytes after a lead
byte as one character, so a model could write what decodes to something else (and longer) than the grammar allowed.
Invariant: what passes, joined, is a prefix of valid UTF-8 in the strict sense (no overlong forms, no surrogates).
"""

import codecs

import numpy as np
import numpy.typing as npt


def fits(pending: bytes, piece: bytes) -> bool:
    """Whether `piece` may follow the unfinished character `pending` (empty: none)."""
    if piece.isascii():
        return not pending or not piece
    data = pending + piece
    try:
        used = codecs.utf_8_decode(data, "strict", False)[1]
    except UnicodeDecodeError:
        return False
    return not (data[used : used + 1] == b"\xed" and data[used + 1 : used + 2] >= b"\xa0")  # a surrogate, found late


def rest(pending: bytes, piece: bytes) -> bytes:
    """What is unfinished after a piece that fits."""
    if piece.isascii():
        return pending if not piece else b""
    data = pending + piece
    return data[codecs.utf_8_decode(data, "strict", False)[1] :]


class Utf8Table:
    """For a whole vocabulary: which tokens may begin a character, which may go on with one. Made once per model."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces
        self._fresh = np.fromiter((fits(b"", piece) for piece in pieces), dtype=bool, count=len(pieces))
        self._goes_on = np.fromiter(
            (0x80 <= p[0] <= 0xBF if p else False for p in pieces), dtype=bool, count=len(pieces)
        )

    def mask(self, ids: npt.NDArray[np.integer], pending: bytes) -> npt.NDArray[np.bool_]:
        """Which of `ids` fit."""
        if not pending:
            return np.asarray(self._fresh[ids])
        out = np.asarray(self._goes_on[ids])
        for at in np.flatnonzero(out):
            out[at] = fits(pending, self._pieces[ids[at]])
        return out
