"""Many rows as few parameters: what rows of one moment have in common is bound once for all of them. Pure; it makes texts
for SQLite, and knows no connection.

A parameter that is bound costs SQLite's driver about as much as a column that is written; half of a call's columns are the
same in nearly all calls that come together. Columns say so themselves (`info={"shared": True}`, see `tables.py`). What it
needs to know of a table is a `Shape`, so that a process that only writes does without SQLAlchemy.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain, islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from sqlalchemy import Table

AT_ONCE = 64  # rows of one statement; the driver keeps as many compiled
FEW = 3  # rows that have less company than this go in with others that have none
Values = tuple[Any, ...]
Parted = tuple[Values, Sequence[Values]]  # what rows share, and what each has for itself; both in the columns' order


class Shape(msgspec.Struct, frozen=True):
    """A table's name, its columns in their order, and the places of those that say they are mostly the same."""

    table: str
    columns: list[str]
    shared: list[int]

    @classmethod
    def of(cls, table: "Table") -> "Shape":
        columns = list(table.columns)
        shared = [place for place, column in enumerate(columns) if column.info.get("shared")]
        return cls(str(table.name), [str(column.name) for column in columns], shared)


class Bulk:
    """INSERTs into one table that leave rows alone which are there already."""

    def __init__(self, shape: Shape) -> None:
        columns, shared = shape.columns, shape.shared
        own = [place for place in range(len(columns)) if place not in shared]
        self._shared, self._own = itemgetter(*shared), itemgetter(*own)
        parted = [*shared, *own]
        self._ordered = itemgetter(*(parted.index(place) for place in range(len(columns))))
        self._into = f"INSERT INTO {shape.table} ({', '.join(columns)})"
        names = {place: f"?{number}" for number, place in enumerate(shared, 1)}
        names |= {place: f"column{number}" for number, place in enumerate(own, 1)}
        self._select = ", ".join(names[place] for place in range(len(columns)))
        self._one = f"({', '.join('?' * len(columns))})"
        self._rest = f"({', '.join('?' * len(own))})"
        self._plain, self._grouped = lru_cache(AT_ONCE)(self._of_plain), lru_cache(AT_ONCE)(self._of_group)

    def statements(self, rows: Iterable[Values], parted: Iterable[Parted] = ()) -> Iterator[tuple[str, Values, int]]:
        """Texts, their parameters, and how many rows each has. `rows`, in the table's columns, are looked at as they are
        needed: who runs one statement after the other keeps the interpreter for no longer than one takes. `parted` are
        rows whose writer knew what they share."""
        lonely: list[Values] = []
        for shared, own in parted:
            if len(own) < FEW:
                lonely += (self.whole(shared, one) for one in own)
                continue
            for start in range(0, len(own), AT_ONCE):
                group = own[start : start + AT_ONCE]
                yield self._grouped(len(group)), (*shared, *chain.from_iterable(group)), len(group)
        left = chain(lonely, rows)
        while part := list(islice(left, AT_ONCE)):
            groups: dict[Values, list[Values]] = {}
            for row in part:
                groups.setdefault(self._shared(row), []).append(row)
            lonely = []
            for shared, company in groups.items():
                if len(company) < FEW:
                    lonely += company
                else:
                    own_values = chain.from_iterable(map(self._own, company))
                    yield self._grouped(len(company)), (*shared, *own_values), len(company)
            if lonely:
                yield self._plain(len(lonely)), tuple(chain.from_iterable(lonely)), len(lonely)

    def whole(self, shared: Values, own: Values) -> Values:
        """One row in the table's columns."""
        row: Values = self._ordered((*shared, *own))
        return row

    def _of_group(self, count: int) -> str:
        rows = ", ".join([self._rest] * count)
        return f"{self._into} SELECT {self._select} FROM (VALUES {rows}) WHERE true ON CONFLICT DO NOTHING"

    def _of_plain(self, count: int) -> str:
        return f"{self._into} VALUES {', '.join([self._one] * count)} ON CONFLICT DO NOTHING"
