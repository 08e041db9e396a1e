"""Pictures among token ids."""

import numpy as np
import pytest

from adapters.llama.slots import common_prefix
from adapters.llama.vision.marks import FEWEST, marks, whole


def test_the_same_picture_has_the_same_numbers_and_they_are_no_tokens() -> None:
    one = marks(b"a", 300)
    assert one.dtype == np.int32
    assert (one < 0).all()
    assert len(set(one.tolist())) > 290
    assert (marks(b"a", 300) == one).all()
    assert (marks(b"b", 300) != one).sum() > 290


def test_a_tiny_picture_is_never_taken_for_another() -> None:
    few = FEWEST - 1
    assert (marks(b"a", few) != marks(b"a", few)).any()
    assert (marks(b"a", FEWEST) == marks(b"a", FEWEST)).all()


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ([1, 2, -5, -6, 3], [1, 2, -5, -6, 3], 5),
        ([1, 2, -5, -6, 3], [1, 2, -5, -6, 4], 4),  # the whole picture is shared
        ([1, 2, -5, -6, 3], [1, 2, -5, -6], 4),
        ([1, 2, -5, -6, 3], [1, 2, -5, -7, 3], 2),  # they differ inside: nothing of it
        ([1, 2, -5, -6, 3], [1, 2, -5], 2),
        ([1, 2, -5, -6, 3], [1, 2, -9, -8, 3], 2),
        ([-5, -6, 3], [-5, -7, 3], 0),
        ([1, 2], [3], 0),
        ([], [1], 0),
    ],
)
def test_a_common_prefix_ends_outside_of_pictures(a: list[int], b: list[int], same: int) -> None:
    left, right = np.array(a, dtype=np.int32), np.array(b, dtype=np.int32)
    assert common_prefix(left, right) == common_prefix(right, left) == same


def test_neighbouring_pictures_are_given_up_together() -> None:
    """Where one ends and the next begins is not in the numbers."""
    a = np.array([1, -2, -3, -4, -5, 9], dtype=np.int32)
    b = np.array([1, -2, -3, -6, -7, 9], dtype=np.int32)
    assert whole(a, b, 3) == 1
