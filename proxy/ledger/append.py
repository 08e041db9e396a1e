"""How rows get into an SQLite file, for whoever writes there: how its connection is set up, and one transaction by the shortest
way. It knows the driver, no table, no SQLAlchemy.

WAL mode: a commit is in the kernel when it returns, and readers go on meanwhile; one writer at a time, waited for `BUSY_MS`.
The log is taken in when somebody says so, never by a commit in passing, which would have to wait for the disk.
"""

import sqlite3
from collections.abc import Iterable

from proxy.ledger.bulk import AT_ONCE, Bulk, Parted, Values

BUSY_MS = 250
CACHED = 4 * AT_ONCE  # compiled statements that a connection keeps
TAKE_IN = "PRAGMA wal_checkpoint(PASSIVE)"
CHECKPOINT_EVERY = 1000  # commits; ROWS_LIKE_ONE rows of calls fill about as much of the log as one of another kind
ROWS_LIKE_ONE = 8


def prepare(connection: sqlite3.Connection) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA wal_autocheckpoint=0")


def opened(file: str) -> sqlite3.Connection:
    """Raises sqlite3.Error."""
    connection = sqlite3.connect(file, BUSY_MS / 1000, cached_statements=CACHED)
    try:
        prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def append(connection: sqlite3.Connection, bulk: Bulk, rows: Iterable[Values], parted: Iterable[Parted]) -> int:
    """One transaction; how many rows. Raises sqlite3.Error, and then the connection should not be used again."""
    done = 0
    connection.execute("BEGIN IMMEDIATE")
    # one statement is one step: each lets go of the interpreter, and has to wait for it again
    for statement, values, count in bulk.statements(rows, parted):
        connection.execute(statement, values)
        done += count
    connection.execute("COMMIT")
    return done
