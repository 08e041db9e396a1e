"""Tokens in common, tokens of a sequence, and cells that are shared."""

import numpy as np
import pytest

from adapters.llama.slots import Cells, Slot, common_prefix


def _prompt(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), dtype=np.uint8).astype(np.int32)


@pytest.mark.parametrize(("a", "b", "expected"), [("", "", 0), ("a", "", 0), ("ab", "ac", 1), ("ab", "abc", 2)])
def test_common_prefix(a: str, b: str, expected: int) -> None:
    assert common_prefix(_prompt(a), _prompt(b)) == expected


def test_a_slot_is_what_was_written_to_it() -> None:
    slot = Slot(3, 8)
    slot.write(_prompt("abc"))
    slot.push(ord("d"))
    assert slot.tokens.tolist() == _prompt("abcd").tolist()
    assert slot.prefix(_prompt("abX")) == 2


def test_shared_cells_are_free_when_the_last_one_lets_go() -> None:
    cells = Cells(10)
    first, second = Slot(0, 8), Slot(1, 8)
    cells.take(first, 0, 4)
    first.write(_prompt("abcd"))
    cells.share(first, second, 3)
    second.write(_prompt("abc"))
    cells.take_one(second)
    second.push(ord("e"))
    assert (cells.free, cells.held_by([first, second], None, 0), cells.held_by([second], first, 4)) == (5, 5, 5)
    cells.drop(first, 0)
    first.n = 0
    assert cells.free == 6, "one cell was its own"
    cells.drop(second, 3)
    second.n = 3
    assert cells.free == 7
    with pytest.raises(RuntimeError, match="reserved"):
        cells.take(second, 3, 8)
