"""Vectors survive base64 to the float32, and shortened ones have length one again."""

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.media.vectors import from_base64, normalised, rows, shorten, to_base64

FLOATS = st.floats(allow_nan=False, allow_infinity=False, width=32)


@given(st.lists(FLOATS, max_size=40))
def test_base64_round_trip_is_exact_in_float32(vector):
    assert list(from_base64(to_base64(vector))) == vector


def test_it_is_little_endian_on_every_machine():
    import base64

    assert base64.b64decode(to_base64([1.0, -2.5])) == struct.pack("<2f", 1.0, -2.5)


@pytest.mark.parametrize("text", ["AAA", "AAAAA", "AAAAAAAA", "?"])
def test_refuses_what_is_not_whole_floats(text):
    with pytest.raises(ValueError, match=r"not base64|not whole"):
        from_base64(text)


@given(st.lists(st.floats(-1e3, 1e3).filter(lambda x: abs(x) > 1e-3), min_size=2, max_size=64), st.data())
def test_shortened_vectors_have_length_one_and_keep_direction(vector, data):
    keep = data.draw(st.integers(1, len(vector) - 1))
    short = shorten(vector, keep)
    assert len(short) == keep
    assert math.isclose(math.hypot(*short), 1.0, rel_tol=1e-5)
    scale = math.hypot(*vector[:keep])
    assert all(math.isclose(a * scale, b, rel_tol=1e-5) for a, b in zip(short, vector, strict=False))


def test_keeps_a_vector_that_is_as_long_as_asked_and_refuses_more():
    assert shorten([3.0, 4.0], 2) == [3.0, 4.0]
    assert list(normalised([0.0, 0.0])) == [0.0, 0.0]
    for dimensions in (0, 3):
        with pytest.raises(ValueError, match="expected 1 to 2"):
            shorten([3.0, 4.0], dimensions)


def test_rows_are_cut_out_of_one_blob() -> None:
    blob = struct.pack("<6f", 1, 2, 3, 4, 5, 6)
    assert [list(row) for row in rows(blob, 2)] == [[1, 2, 3], [4, 5, 6]]
