"""From an old schema to the newest, with a copy beforehand."""

import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from proxy.errors import ConfigError
from proxy.ledger import migrate
from proxy.ledger.database import connect
from proxy.ledger.tables import HEAD


async def opened(file: Path) -> None:
    await (await connect(f"sqlite:///{file}")).aclose()


def state(file: Path) -> str:
    with sqlite3.connect(file) as connection:
        found = connection.execute("SELECT version_num FROM alembic_version").fetchone()[0]
    connection.close()
    return str(found)


def test_a_new_file_is_made_without_alembic(tmp_path: Path) -> None:
    script = (
        "import asyncio, sys; sys.path.insert(0, sys.argv[2])\n"
        "from proxy.ledger.database import connect\n"
        "async def main():\n"
        "    for _ in range(2): await (await connect(sys.argv[1])).aclose()\n"
        "asyncio.run(main())\n"
        "assert 'alembic' not in sys.modules and 'asyncpg' not in sys.modules\n"
    )
    root = str(Path(__file__).parents[4])
    subprocess.run([sys.executable, "-c", script, f"sqlite:///{tmp_path}/t.db", root], check=True)
    assert state(tmp_path / "t.db") == HEAD
    assert [path for path in tmp_path.iterdir() if path.suffix == ".bak"] == []


def test_an_old_file_is_copied_and_then_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "t.db"
    asyncio.run(opened(file))
    old = sqlite3.connect(file)
    old.execute("UPDATE alembic_version SET version_num = '0000'")
    old.execute("INSERT INTO counters VALUES ('kept', 5)")
    old.commit()
    old.close()

    def upgrade(connection: Connection, to: str = "head") -> None:
        connection.execute(text("UPDATE alembic_version SET version_num = :head"), {"head": HEAD})

    monkeypatch.setattr(migrate, "upgrade", upgrade)
    asyncio.run(opened(file))
    assert state(file) == HEAD
    (copy,) = tmp_path.glob("t.db.0000.*.bak")
    assert state(copy) == "0000"
    assert copy.stat().st_mode & 0o777 == 0o600
    look = sqlite3.connect(copy)
    assert look.execute("SELECT value FROM counters").fetchall() == [(5,)]
    look.close()


def test_a_migration_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "t.db"
    asyncio.run(opened(file))
    old = sqlite3.connect(file)
    old.execute("UPDATE alembic_version SET version_num = '0000'")
    old.commit()
    old.close()

    def upgrade(connection: Connection, to: str = "head") -> None:
        connection.execute(text("DROP TABLE counters"))
        connection.execute(text("DROP TABLE no_such_table"))

    monkeypatch.setattr(migrate, "upgrade", upgrade)
    with pytest.raises(ConfigError, match="no such table"):
        asyncio.run(opened(file))
    assert state(file) == "0000"
    look = sqlite3.connect(file)
    assert look.execute("SELECT count(*) FROM counters").fetchone() == (0,)
    look.close()


def test_a_newer_schema_is_not_touched(tmp_path: Path) -> None:
    file = tmp_path / "t.db"
    asyncio.run(opened(file))
    newer = sqlite3.connect(file)
    newer.execute("UPDATE alembic_version SET version_num = '9999'")
    newer.commit()
    newer.close()
    with pytest.raises(ConfigError, match="newer than this program"):
        asyncio.run(opened(file))
    assert state(file) == "9999"


def test_many_who_come_at_once_make_it_once(tmp_path: Path) -> None:
    async def work() -> None:
        found = await asyncio.gather(*(connect(f"sqlite:///{tmp_path}/t.db") for _ in range(6)))
        for database in found:
            await database.aclose()

    asyncio.run(work())
    assert state(tmp_path / "t.db") == HEAD
