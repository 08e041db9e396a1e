"""Who a key belongs to, from memory."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from proxy.errors import KeyInvalid
from proxy.keys.desk import Created, KeyDesk, Wish
from proxy.keys.directory import RELOADS_PER_S, Directory
from proxy.keys.format import mint
from proxy.ledger.database import Database, connect
from proxy.ledger.keyrows import KeyRows

PEPPER = b"p" * 32


class Office:
    """One database with two workers' directories, and a desk at the first."""

    def __init__(self, database: Database) -> None:
        self.rows = KeyRows(database)
        self.now = 1_700_000_000_000_000
        self.here = Directory(self.rows, PEPPER, lambda: self.now)
        self.there = Directory(self.rows, PEPPER, lambda: self.now)
        self.desk = KeyDesk(self.rows, self.here, PEPPER, lambda: self.now)

    async def create(self, **wish: object) -> Created:
        return await self.desk.create(Wish(**wish))  # type: ignore[arg-type]


def run(tmp_path: Path, work: Callable[[Office], Awaitable[None]]) -> None:
    async def main() -> None:
        database = await connect(f"sqlite:///{tmp_path}/t.db")
        office = Office(database)
        await office.here.start()
        await office.there.start()
        try:
            await work(office)
        finally:
            await office.here.aclose()
            await office.there.aclose()
            await database.aclose()

    asyncio.run(main())


async def until(true: Callable[[], bool], within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


def knows(directory: Directory, text: str) -> bool:
    try:
        directory.principal(text)
    except KeyInvalid:
        return False
    return True


def test_a_key_is_known_here_at_once_and_everywhere_within_a_second(tmp_path: Path) -> None:
    async def work(office: Office) -> None:
        assert not office.here.any
        made = await office.create(admin=True, tier="paid", models=["b", "a"])
        who = office.here.principal(made.text)
        assert (who.id, who.admin, who.tier, who.models) == (made.row.id, True, "paid", frozenset({"a", "b"}))
        assert office.here.any
        await until(lambda: knows(office.there, made.text), 1.0)
        assert await office.desk.revoke(made.row.id)
        assert not knows(office.here, made.text)
        await until(lambda: not knows(office.there, made.text), 1.0)
        assert not await office.desk.revoke(made.row.id)

    run(tmp_path, work)


def test_a_brand_new_key_is_looked_for_but_strangers_are_not_for_long(tmp_path: Path) -> None:
    async def work(office: Office) -> None:
        made = await office.create()
        assert (await office.there.find(made.text)).id == made.row.id
        asked = 0
        generation = office.rows.generation

        async def counted() -> int:
            nonlocal asked
            asked += 1
            return await generation()

        office.rows.generation = counted  # type: ignore[method-assign]
        for _ in range(200):
            with pytest.raises(KeyInvalid):
                await office.there.find(mint().text)
            with pytest.raises(KeyInvalid):
                await office.there.find("tgt_nonsense")
        assert asked <= 2 * RELOADS_PER_S

    run(tmp_path, work)


def test_wrong_keys(tmp_path: Path) -> None:
    async def work(office: Office) -> None:
        made = await office.create()
        other = mint().text
        wrong = made.text[:27] + other[27:]  # the right id, another secret
        for text in (wrong, other, "", made.text + " ", made.text[:-1]):
            with pytest.raises(KeyInvalid) as told:
                office.here.principal(text)
            assert text == "" or text not in str(told.value)
        assert knows(office.here, made.text)

    run(tmp_path, work)


def test_a_key_ends_when_it_was_to_end(tmp_path: Path) -> None:
    async def work(office: Office) -> None:
        made = await office.create(expires_at="2023-11-15")
        assert made.row.expires_us is not None
        office.now = made.row.expires_us - 1
        assert knows(office.here, made.text)
        office.now += 1
        with pytest.raises(KeyInvalid, match="expired"):
            office.here.principal(made.text)
        assert not office.here.any

    run(tmp_path, work)


def test_when_it_was_used_last_is_written_down_now_and_then(tmp_path: Path) -> None:
    async def work(office: Office) -> None:
        made = await office.create()
        assert (await office.desk.list())[0].last_used_us is None
        office.here.principal(made.text)
        await office.here.touch()
        assert (await office.desk.list())[0].last_used_us == office.now

    run(tmp_path, work)


def test_while_the_database_is_away_the_copy_stands(tmp_path: Path) -> None:
    async def work(office: Office) -> None:
        made = await office.create()

        async def gone() -> int:
            raise OSError("gone")

        office.rows.generation = gone  # type: ignore[method-assign]
        await asyncio.sleep(0.6)
        assert knows(office.here, made.text)
        with pytest.raises(KeyInvalid):
            await office.here.find(mint().text)

    run(tmp_path, work)


def test_the_key_itself_is_nowhere_in_the_files(tmp_path: Path) -> None:
    secrets: list[str] = []

    async def work(office: Office) -> None:
        made = await office.create(description="canary")
        office.here.principal(made.text)
        await office.here.touch()
        secrets.append(made.text)

    run(tmp_path, work)
    (text,) = secrets
    found = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"canary" in found
    assert text.encode() not in found
    assert text[27:].encode() not in found
    assert text[27:-6].encode() not in found
