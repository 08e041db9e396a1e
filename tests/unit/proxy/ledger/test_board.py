"""The board: a place for each plain call, whole at every moment."""

import mmap
from typing import Any

from msgspec.structs import astuple

from proxy.call import Operation
from proxy.config import Pricing
from proxy.ledger.board import PLACE, PLACES, SIZE, Board, Entered, left
from proxy.ledger.bulk import Bulk, Shape
from proxy.ledger.plain import Facts, Said, Terms
from proxy.ledger.prices import PriceTable
from proxy.ledger.row import Row
from proxy.ledger.tables import calls

START = 64
PRICES = PriceTable({"m": Pricing(input_usd=1.0, output_usd=2.0)})
FACTS: Facts = (1.0, 1.5, 1.1, 3.25, 10, 5, 4, 2, 900)


def terms(target: str = "t", key: str = "k") -> Terms:
    return Terms(Said(key, Operation.CHAT, "m", False, "u", target, PRICES.version, PRICES.of("m")))


def board() -> tuple[Board, mmap.mmap]:
    room = mmap.mmap(-1, START + SIZE)
    return Board(room, START), room


def seen(room: mmap.mmap) -> tuple[list[str], list[str]]:
    marks, rows = left(room[START:])
    return [mark.call_id for mark in marks], [row.call_id for row in rows]


def test_a_calls_life() -> None:
    here, room = board()
    common = terms()
    for name in ("a", "b", "c"):
        assert here.enter(name, 7, common)
    place = here.end("b", FACTS)
    assert place is not None
    here.leave("c")
    assert (seen(room), len(here)) == ((["a"], ["b"]), 2)
    assert here.end("b", FACTS) is None, "once"
    assert here.end("nobody", FACTS) is None
    here.leave("nobody")
    here.taken([place])
    assert (seen(room), len(here)) == ((["a"], []), 1)
    assert here.enter("d", 8, common)
    assert seen(room) == (["a", "d"], []) or seen(room) == (["d", "a"], [])


def test_an_heir_reads_what_the_writer_would_have_written() -> None:
    here, room = board()
    common, other = terms(), terms("elsewhere")
    ended: list[Entered] = []
    for number in range(9):
        assert here.enter(f"c{number}", 100 + number, other if number % 3 else common)
        place = here.end(f"c{number}", (*FACTS[:5], number, *FACTS[6:]))
        assert place is not None
        ended.append(place)
    whole = Bulk(Shape.of(calls)).whole
    written = [Row(*whole(shared, one)) for shared, own in here.parted(ended) for one in own]
    assert len(list(here.parted(ended))) == 2, "what they share is there once"
    inherited = left(room[START:])[1]
    by_id: Any = lambda row: row.call_id  # noqa: E731
    assert [astuple(row) for row in sorted(written, key=by_id)] == [
        astuple(row) for row in sorted(inherited, key=by_id)
    ]
    assert sorted(row.amount_micro or 0 for row in inherited) == sorted(6 + 4 + 2 * number for number in range(9))


def test_killed_between_any_two_stores_it_is_one_thing_or_the_other() -> None:
    """A place is written in its order: whatever part of it has been, it says nothing, or a call that is open, or a row."""
    here, room = board()
    assert here.enter("call", 7, terms())
    assert here.end("call", FACTS) is not None
    (start,) = [place for place in range(START, START + SIZE, PLACE) if room[place]]
    text = room[start : start + PLACE]
    found = []
    for cut in range(PLACE + 1):
        marks, rows = left(text[:cut] + bytes(PLACE - cut))
        assert len(marks) + len(rows) <= 1
        found.append("row" if rows else "mark" if marks else "")
    assert [one for place, one in enumerate(found) if place == 0 or found[place - 1] != one] == ["", "mark", "row"]


def test_another_attempt_has_its_target_before_the_last_one_is_gone() -> None:
    here, room = board()
    assert here.enter("a", 7, terms("first"))
    assert here.enter("a", 7, terms("second"))
    (mark,) = left(room[START:])[0]
    assert (mark.target, len(here)) == ("second", 1)


def test_what_does_not_fit_is_refused() -> None:
    (here, room), common = board(), terms()
    assert not here.enter("x" * 41, 7, terms())
    assert not here.enter("a", 7, terms("t" * 250))
    assert here.enter("a", 7, terms())
    assert here.end("a", (*FACTS[:4], 1 << 70, *FACTS[5:])) is None
    assert seen(room) == (["a"], []), "it is open as before"
    for number in range(PLACES - 1):
        assert here.enter(f"c{number}", 7, common)
    assert not here.enter("one too many", 7, common)
    here.leave("c5")
    assert here.enter("another", 7, common)


def test_names_and_keys_come_back_as_they_were() -> None:
    here, room = board()
    assert here.enter("ü" * 20, 7, terms(key="schlüssel"))
    (mark,) = left(room[START:])[0]
    assert (mark.call_id, mark.key_id) == ("ü" * 20, "schlüssel")
