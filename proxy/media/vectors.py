"""Embedding vectors on the wire: float32, little-endian, base64.

It knows no request and needs no numpy. Invariant: through base64 and back, each number is its float32.
"""

import base64
import binascii
import sys
from array import array
from collections.abc import Iterable

_SWAP = sys.byteorder == "big"


def to_base64(vector: Iterable[float]) -> str:
    """A list, an array or anything with the buffer protocol in float32."""
    floats = _floats(vector)
    if _SWAP:
        floats = array("f", floats)
        floats.byteswap()
    return base64.b64encode(floats).decode("ascii")


def from_base64(text: str | bytes) -> "array[float]":
    """ValueError where it is not base64 of whole float32 numbers."""
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from None
    if len(data) % 4:
        raise ValueError(f"{len(data)} bytes are not whole float32 numbers")
    floats = array("f")
    floats.frombytes(data)
    if _SWAP:
        floats.byteswap()
    return floats


def rows(data: bytes, count: int) -> "list[array[float]]":
    """Little-endian float32 numbers one after the other → `count` vectors of the same length."""
    floats = array("f")
    floats.frombytes(data)
    if _SWAP:
        floats.byteswap()
    width = len(floats) // count
    return [floats[at : at + width] for at in range(0, width * count, width)]


def _floats(vector: Iterable[float]) -> "array[float]":
    return vector if isinstance(vector, array) and vector.typecode == "f" else array("f", vector)
