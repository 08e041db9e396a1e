"""Alembic is told the connection and nothing else: no file, no URL, no logging."""

import pytest
from sqlalchemy import create_engine, inspect

from proxy.ledger.migrate import upgrade


def test_it_runs_in_the_transaction_that_it_is_given() -> None:
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        upgrade(connection)
        assert "calls" in inspect(connection).get_table_names()
        connection.rollback()
    engine.dispose()


def test_an_unknown_revision_is_an_error() -> None:
    engine = create_engine("sqlite://")
    with engine.connect() as connection, pytest.raises(Exception, match="nowhere"):
        upgrade(connection, "nowhere")
    engine.dispose()
