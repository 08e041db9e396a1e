"""The tables."""

from sqlalchemy import Float
from sqlalchemy.schema import CreateTable

from proxy.ledger.tables import metadata


def test_money_and_times_are_integers() -> None:
    floats = {
        column.name for table in metadata.tables.values() for column in table.columns if isinstance(column.type, Float)
    }
    assert floats == {"queue_ms", "ttft_ms", "total_ms"}


def test_no_column_holds_a_key() -> None:
    assert set(metadata.tables["keys"].columns.keys()) & {"key", "secret", "text", "token"} == set()
    assert "mac" in str(CreateTable(metadata.tables["keys"]))
