"""URLs, engines, errors; the rest is tests/contract/test_ledger.py's."""

import asyncio
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from proxy.errors import ConfigError
from proxy.ledger.append import CHECKPOINT_EVERY
from proxy.ledger.database import Database, connect, parse, patiently, reason, sqlite_file
from proxy.ledger.tables import counters


def test_urls() -> None:
    assert parse("sqlite:///./t.db").drivername == "sqlite+pysqlite"
    assert parse("postgresql://u:p@h/db").drivername == "postgresql+asyncpg"
    assert parse("postgres://u:p@h/db").drivername == "postgresql+asyncpg"
    assert sqlite_file("sqlite:///./t.db") == Path("t.db")
    assert sqlite_file("sqlite:///") is None
    assert sqlite_file("postgresql://u:p@h/db") is None


@pytest.mark.parametrize("url", ["mysql://u:hunter2@h/db", "not a url", "redis://h", ""])
def test_other_urls_are_one_line_without_a_password(url: str) -> None:
    with pytest.raises(ConfigError) as told:
        parse(url)
    assert told.value.where == "store.url"
    assert "hunter2" not in str(told.value)


def run(database: Database, statement: str) -> object:
    def work(connection: Connection) -> object:
        found = connection.execute(text(statement))
        return found.scalar() if found.returns_rows else None

    return asyncio.run(database.write(work))


def test_a_file_nobody_can_write_is_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(ConfigError, match="cannot be used"):
        asyncio.run(connect(f"sqlite:///{folder}"))
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be used"):
        asyncio.run(connect(f"sqlite:///{tmp_path}/file/below.db"))


def test_in_memory_everybody_sees_the_same(tmp_path: Path) -> None:
    async def work() -> None:
        database = await connect("sqlite://")
        assert database.file is None
        insert = database.insert(counters).values(name="n", value=7)
        await database.write(lambda connection: [connection.execute(insert) for _ in range(2)] and None)
        found = await database.read(
            lambda connection: connection.execute(text("SELECT value FROM counters")).scalars().all()
        )
        assert found == [7]
        await database.aclose()

    asyncio.run(work())


def test_a_failed_transaction_leaves_nothing_and_the_next_one_works(tmp_path: Path) -> None:
    async def work() -> None:
        database = await connect(f"sqlite:///{tmp_path}/t.db")

        def half(connection: Connection) -> None:
            connection.execute(text("INSERT INTO counters VALUES ('a', 1)"))
            raise KeyError("stop")

        def wrong(connection: Connection) -> None:
            connection.execute(text("INSERT INTO counters VALUES ('a', 1)"))
            connection.execute(text("INSERT INTO no_such_table VALUES (1)"))

        with pytest.raises(KeyError):
            await database.write(half)
        with pytest.raises(Exception, match="no such table") as told:
            await database.write(wrong)
        assert reason(told.value) == "no such table: no_such_table"
        await database.write(
            lambda connection: connection.execute(text("INSERT INTO counters VALUES ('a', 2)")).close()
        )
        assert await database.read(lambda c: c.execute(text("SELECT value FROM counters")).scalars().all()) == [2]
        await database.aclose()

    asyncio.run(work())


def test_the_log_is_brought_in_from_time_to_time(tmp_path: Path) -> None:
    async def work() -> None:
        database = await connect(f"sqlite:///{tmp_path}/t.db")
        put = text("INSERT OR REPLACE INTO counters VALUES ('a', random())")
        sizes = []
        for _ in range(8):
            for _ in range(CHECKPOINT_EVERY):
                await database.write(lambda connection: connection.execute(put).close())
            sizes.append((tmp_path / "t.db-wal").stat().st_size)
        assert sizes[-1] < 4 * sizes[0]  # it began again from its start, at least twice
        await database.aclose()

    asyncio.run(work())


def test_a_start_waits_for_a_database_that_is_locked(tmp_path: Path) -> None:
    """As it is while a neighbour reads the log of one that was killed; but not for ever."""
    url = f"sqlite:///{tmp_path}/t.db"

    async def work() -> None:
        await (await connect(url)).aclose()
        other = sqlite3.connect(tmp_path / "t.db", isolation_level=None)
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        opening = asyncio.create_task(connect(url))
        await asyncio.sleep(0.6)
        assert not opening.done()
        other.execute("ROLLBACK")
        other.close()
        await (await opening).aclose()

        async def locked() -> None:
            raise sqlite3.OperationalError("database is locked")

        with pytest.raises(sqlite3.OperationalError):
            await patiently(locked, 0.1)

    asyncio.run(work())
