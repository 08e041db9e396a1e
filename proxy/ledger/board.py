"""Plain calls in the journal: each has one place there from its mark to the moment when the database has its row.

A place is written in order, and a byte behind each half says that it is whole: so a process may be killed between any two
stores. No record is written twice, nothing is copied, and what is written next is what was in the processor's cache last.
Where a call does not fit (no place is free, a long name) `enter` says so, and the journal's records take it.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from mmap import mmap

from proxy.ledger.entry import row_of
from proxy.ledger.plain import Facts, Terms, Values
from proxy.ledger.row import Mark, Row

PLACES = 8192  # calls that are open, or wait for the database; some MB
_ID, _TEXT = 40, 248
_OPEN, _FACTS, PLACE = 298, 304, 384
_END = struct.Struct("<ddddqqqqqB")  # its Facts; 1: it has ended
_READ = struct.Struct("<ddddqqqqq")  # the same, without that
_ENDED = _FACTS + _END.size - 1
# id, µs since 1970 when it began, its terms with their length; 1: it is open; and nothing, so that it has not ended: who packs
# clears all of it first, hence that byte before it says that it is open
_CALL = struct.Struct(f"<{_ID}sqH{_TEXT}sB{_ENDED - _OPEN}x")
SIZE = PLACES * PLACE
Entered = tuple[int, str, int, Terms]  # where its place begins; as it was entered
assert struct.calcsize(f"<{_ID}sqH{_TEXT}s") == _OPEN < _FACTS
assert _FACTS + _END.size <= PLACE


class Board:
    """Over `SIZE` bytes of `room` from `start` on, all zero at first."""

    def __init__(self, room: mmap, start: int) -> None:
        self._room = room
        self._free = list(range(start + SIZE - PLACE, start - 1, -PLACE))
        self._open: dict[str, Entered] = {}

    def __len__(self) -> int:
        """How many places are taken."""
        return PLACES - len(self._free)

    def enter(self, call_id: str, created_us: int, terms: Terms) -> bool:
        """A call is open; once more for each attempt. Whether there was room."""
        name, text = call_id.encode(), terms.text
        if not self._free or len(name) > _ID or len(text) > _TEXT:
            return False
        place = self._free.pop()
        _CALL.pack_into(self._room, place, name, created_us, len(text), text, 1)
        if call_id in self._open:  # its new target is written down: now the last one may go
            self.leave(call_id)
        self._open[call_id] = (place, call_id, created_us, terms)
        return True

    def leave(self, call_id: str) -> None:
        """It is booked elsewhere, or never reached an upstream. Whoever was never here may leave, too."""
        entered = self._open.pop(call_id, None)
        if entered is not None:
            self._room[entered[0] + _OPEN] = 0
            self._free.append(entered[0])

    def end(self, call_id: str, facts: Facts) -> Entered | None:
        """A call has ended; what is to be `taken` when the database has its row. None: it has no place here, or a figure is
        larger than any there is."""
        entered = self._open.pop(call_id, None)
        if entered is None:
            return None
        at = entered[0] + _FACTS
        began, ended, tried, ms, prompt, made, cached, reasoning, sent = facts
        try:  # one by one: `*facts` takes as long again
            _END.pack_into(self._room, at, began, ended, tried, ms, prompt, made, cached, reasoning, sent, 1)
        except struct.error:
            self._open[call_id] = entered
            return None
        return entered

    def taken(self, ended: Iterable[Entered]) -> None:
        """The database has their rows."""
        room, free = self._room, self._free
        for entered in ended:
            place = entered[0]
            room[place + _OPEN] = 0
            free.append(place)

    def parted(self, ended: Sequence[Entered]) -> Iterator[tuple[Values, list[Values]]]:
        """See the function of that name. Any thread may ask for what is not `taken` yet."""
        return parted(self._room, ended)


def parted(room: mmap, ended: Iterable[Entered]) -> Iterator[tuple[Values, list[Values]]]:
    """Rows as what they share, and what each has for itself."""
    unpack = _READ.unpack_from
    alike: dict[Terms, list[Values]] = {}
    for place, call_id, created_us, terms in ended:
        own = terms.own(call_id, created_us, unpack(room, place + _FACTS))
        if terms in alike:
            alike[terms].append(own)
        else:
            alike[terms] = [own]
    for terms, rows in alike.items():
        yield terms.shared, rows


def entered(room: mmap | bytes, place: int, known: dict[bytes, Terms]) -> Entered:
    """What stands there, for whoever did not write it; `known` are Terms by their text. Raises msgspec.DecodeError."""
    name, created_us, length, text, _ = _CALL.unpack_from(room, place)
    text = text[:length]
    return place, name.rstrip(b"\0").decode(), created_us, known.get(text) or known.setdefault(text, Terms.read(text))


def left(data: bytes) -> tuple[list[Mark], list[Row]]:
    """What a dead process had on its board: calls that were open, and rows. Raises msgspec.DecodeError."""
    marks: list[Mark] = []
    rows: list[Row] = []
    known: dict[bytes, Terms] = {}
    for place in range(0, len(data) - PLACE + 1, PLACE):
        if not data[place + _OPEN]:
            continue
        _, call_id, created_us, terms = entered(data, place, known)
        if data[place + _ENDED]:
            rows.append(row_of(terms.entry(call_id, created_us, _READ.unpack_from(data, place + _FACTS))))
        else:
            marks.append(terms.mark(call_id, created_us))
    return marks, rows
