"""Vectors survive base64 to the float32, and shortened ones have length one again."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.media.vectors import from_base64, rows, to_base64

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


def test_rows_are_cut_out_of_one_blob() -> None:
    blob = struct.pack("<6f", 1, 2, 3, 4, 5, 6)
    assert [list(row) for row in rows(blob, 2)] == [[1, 2, 3], [4, 5, 6]]
