"""A look at a database that changes nothing."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import text

from proxy.errors import ConfigError
from proxy.ledger.database import connect
from proxy.ledger.look import look


def test_from_nothing_to_a_ledger(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/t.db"

    async def made() -> None:
        await (await connect(url)).aclose()

    assert "not there yet" in asyncio.run(look(url))
    assert [*tmp_path.iterdir()] == [], "nothing is made by looking"
    asyncio.run(made())
    assert asyncio.run(look(url)).endswith("t.db: 0 calls")


def test_a_schema_of_another_time(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/t.db"

    async def marked(version: str) -> None:
        database = await connect(url)
        await database.write(lambda c: c.execute(text("UPDATE alembic_version SET version_num = :v"), {"v": version}))
        await database.aclose()

    asyncio.run(marked("0000"))
    assert "up to date" in asyncio.run(look(url))
    asyncio.run(made_new(url))
    with pytest.raises(ConfigError, match="newer"):
        asyncio.run(look(url))


async def made_new(url: str) -> None:
    from proxy.ledger.database import Sqlite, parse

    database = Sqlite(parse(url))
    await database.write(lambda c: c.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    await database.aclose()


def test_what_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "t.db").write_bytes(b"no database at all" * 400)
    with pytest.raises(ConfigError, match="cannot be used"):
        asyncio.run(look(f"sqlite:///{tmp_path}/t.db"))
    with pytest.raises(ConfigError, match="cannot be used"):
        asyncio.run(look("postgresql://nobody@127.0.0.1:9/x"))
