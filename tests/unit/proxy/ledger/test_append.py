"""One transaction by the shortest way: all of it or nothing, and what is there stays."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from proxy.ledger.append import append, opened
from proxy.ledger.bulk import AT_ONCE, Bulk, Shape

BULK = Bulk(Shape("t", ["id", "a", "c", "b"], [1, 2]))


def made(tmp_path: Path) -> sqlite3.Connection:
    connection = opened(str(tmp_path / "t.db"))
    connection.execute("CREATE TABLE t (id TEXT PRIMARY KEY, a TEXT, c TEXT, b INTEGER CHECK (b < 1000))")
    return connection


def test_rows_and_parted_rows_in_one_transaction(tmp_path: Path) -> None:
    with closing(made(tmp_path)) as connection, closing(opened(str(tmp_path / "t.db"))) as other:
        rows = [(f"r{number}", "alone", None, number) for number in range(AT_ONCE + 3)]
        assert append(connection, BULK, rows, [(("shared", None), [("p1", 1), ("p2", 2), ("p3", 3)])]) == AT_ONCE + 6
        assert not connection.in_transaction
        said = dict(other.execute("SELECT a, count(*) FROM t GROUP BY a").fetchall())
        assert said == {"alone": AT_ONCE + 3, "shared": 3}
        append(connection, BULK, [("r0", "other", None, 7)], ())
        assert other.execute("SELECT a FROM t WHERE id = 'r0'").fetchone() == ("alone",), "what is there stays"


def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    with closing(made(tmp_path)) as connection:
        good = [(("s", None), [(f"g{number}", number) for number in range(AT_ONCE)])]
        with pytest.raises(sqlite3.IntegrityError):
            append(connection, BULK, [("bad", "x", None, 5000)], good)
    with closing(opened(str(tmp_path / "t.db"))) as again:
        assert again.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_how_a_connection_is_set_up(tmp_path: Path) -> None:
    with closing(opened(str(tmp_path / "t.db"))) as connection:
        names = ("journal_mode", "synchronous", "wal_autocheckpoint", "busy_timeout")
        assert [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names] == ["wal", 1, 0, 250]


def test_what_is_no_database_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "t.db").write_bytes(b"not a database" * 100)
    with pytest.raises(sqlite3.DatabaseError):
        opened(str(tmp_path / "t.db"))
