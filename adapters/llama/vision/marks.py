"""Pictures in an array of token ids: negative numbers where a picture stands, made from what it shows.

Owns that one trick, by which the prefix cache compares pictures as it compares words. Refuses to know pixels and
llama.cpp. Invariants: the same picture in the same place of the same model gives the same numbers, another one gives
others; a common prefix never ends inside a picture.
"""

import hashlib
import os

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int32]
FEWEST = 4  # positions whose numbers tell pictures apart for certain (124 bits)


def marks(key: bytes, positions: int) -> Ints:
    """Negative ids for a picture's positions. One of very few positions gets numbers of its own each time."""
    if positions < FEWEST:
        key += os.urandom(16)
    drawn = np.frombuffer(hashlib.shake_256(key).digest(4 * positions), dtype="<i4")
    return np.asarray(drawn | np.int32(-(2**31)), dtype=np.int32)


def whole(a: Ints, b: Ints, same: int) -> int:
    """`same` leading ids of both are equal; as many of them as end outside of a picture."""
    inside = any(len(ids) > same and ids[same] < 0 for ids in (a, b))
    while inside and same and a[same - 1] < 0:
        same -= 1
    return same
