"""A line of the books."""

import msgspec

from proxy.ledger.row import Mark, Row, interrupted
from proxy.ledger.tables import calls


def test_a_row_has_the_columns_of_its_table() -> None:
    assert {field.name for field in msgspec.structs.fields(Row)} == set(calls.columns.keys())


def test_what_cannot_be_null_has_a_value_from_the_start() -> None:
    required = {column.name for column in calls.columns if not column.nullable}
    row = interrupted(Mark("c", "k", "chat", "m", "u", "t", 5), 9)
    assert not [name for name in required if getattr(row, name) is None]


def test_nobody_knows_what_an_interrupted_call_used() -> None:
    row = interrupted(Mark("c", "k", "chat", "m", "u", "t", 5, "v1"), 9)
    assert (row.ending, row.created_us, row.settled_us, row.price_version) == ("interrupted", 5, 9, "v1")
    assert row.prompt_tokens is None
    assert row.amount_micro is None
