"""What is booked and not in the database yet, beside plain calls on the board: rows, and entries that rows are reckoned of; and
what a dead process's journal says of all of them. Pure; who brings them to the database is `books.py`.
"""

from typing import Any

import msgspec
from msgspec.structs import astuple

from proxy.ledger.board import left
from proxy.ledger.entry import Entry, row_of, values_of
from proxy.ledger.journal import Estate
from proxy.ledger.row import Mark, Row, interrupted

Booked = Row | Entry  # a row that is to be, or what it is reckoned of
_mark = msgspec.msgpack.Decoder(Mark).decode
_booked = msgspec.msgpack.Decoder(Booked).decode


def as_row(booked: Booked) -> Row:
    return row_of(booked) if isinstance(booked, Entry) else booked


def values(booked: Booked) -> tuple[Any, ...]:
    """Its row, in the order of the columns."""
    return values_of(booked) if isinstance(booked, Entry) else astuple(booked)


def rows_of(estate: Estate, now_us: int) -> dict[str, Row]:
    """By call: what was booked, and an `interrupted` row for each call that was open.

    Raises:
        msgspec.DecodeError: another version wrote it.
    """
    if estate.foreign:
        raise msgspec.DecodeError("it is of another version")
    marks, booked = left(estate.board)
    rows = {row.call_id: row for row in booked}
    rows |= {row.call_id: as_row(row) for row in map(_booked, estate.rows)}
    for mark in [*marks, *map(_mark, estate.marks)]:
        if mark.call_id not in rows and mark.call_id not in estate.never:
            rows[mark.call_id] = interrupted(mark, now_us)
    return rows
