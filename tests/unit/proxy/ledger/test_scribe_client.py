"""A worker and its scribe, which is a real process: it is killed, stopped and missed, and no row depends on it."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop
from sqlalchemy import func, select

from proxy.call import Operation
from proxy.config import Pricing, Scribing
from proxy.ledger import scribe_client
from proxy.ledger.board import Entered
from proxy.ledger.database import Database, connect
from proxy.ledger.journal import Journal
from proxy.ledger.plain import Said, Terms
from proxy.ledger.prices import PriceTable
from proxy.ledger.scribe_client import LASTING, MANY, ScribeClient
from proxy.ledger.tables import calls

PRICES = PriceTable({"m": Pricing(input_usd=1.0, output_usd=2.0)})
TERMS = Terms(Said("k", Operation.CHAT, "m", False, "u", "t", PRICES.version, PRICES.of("m")))


class Desk:
    def __init__(self, client: ScribeClient, journal: Journal, database: Database) -> None:
        self.client = client
        self.journal = journal
        self._database = database
        self._count = 0

    def ended(self, count: int) -> list[Entered]:
        found = []
        for _ in range(count):
            self._count += 1
            assert self.journal.board.enter(f"c{self._count}", 7, TERMS)
            entered = self.journal.end(f"c{self._count}", (1.0, 2.0, 1.5, 3.0, 10, 5, 0, 0, 9))
            assert entered is not None
            found.append(entered)
        return found

    async def hired(self) -> int:
        """The process id of one that was not there."""
        assert not await self.client.write(self.ended(1))
        return await self.ready()

    async def ready(self) -> int:
        """The scribe's process id."""
        if self.client._hiring is not None:
            await self.client._hiring
        assert self.client.ready
        assert self.client._process is not None
        return self.client._process.pid

    async def rows(self) -> int:
        return await self._database.read(lambda c: int(c.execute(select(func.count()).select_from(calls)).scalar_one()))


@asynccontextmanager
async def desk(folder: Path, when: Scribing) -> AsyncIterator[Desk]:
    database = await connect(f"sqlite:///{folder}/t.db")
    journal = Journal(folder / "j")
    client = ScribeClient(folder / "t.db", journal.path, when)
    try:
        yield Desk(client, journal, database)
    finally:
        await client.aclose()
        assert client._process is None
        journal.close()
        await database.aclose()


@pytest.mark.asyncio
async def test_a_scribe_writes(tmp_path: Path) -> None:
    async with desk(tmp_path, "always") as here:
        pid = await here.hired()  # nobody waited for it
        for _ in range(3):
            assert await here.client.write(here.ended(300))
        assert await here.rows() == 900
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.asyncio
async def test_it_comes_when_there_is_enough_for_it_for_a_while(tmp_path: Path) -> None:
    async with desk(tmp_path, "auto") as here:
        few, many = here.ended(MANY - 1), here.ended(MANY)
        for rows in (*[many] * (LASTING - 1), few, *[many] * (LASTING - 1)):
            assert not await here.client.write(rows)
        assert here.client._hiring is None
        assert not await here.client.write(many)
        await here.ready()
        assert await here.client.write(few), "once it is there, it writes all"
        assert await here.rows() == MANY - 1


@pytest.mark.asyncio
async def test_it_never_comes_where_nobody_wants_it(tmp_path: Path) -> None:
    async with desk(tmp_path, "never") as here:
        for _ in range(2 * LASTING):
            assert not await here.client.write(here.ended(MANY))
        assert here.client._hiring is None


@pytest.mark.asyncio
async def test_one_that_dies_is_missed_once_and_replaced_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scribe_client, "PAUSES_S", (0.0, 600.0))
    async with desk(tmp_path, "always") as here:
        first = await here.hired()
        os.kill(first, signal.SIGKILL)
        assert not await here.client.write(here.ended(5)), "whoever asked may write them"
        assert not await here.client.write(here.ended(5))
        second = await here.ready()
        assert second != first
        assert await here.client.write(here.ended(5)), "one that did its work is the first again"
        os.kill(second, signal.SIGKILL)
        assert not await here.client.write(here.ended(5))
        assert not await here.client.write(here.ended(5))
        third = await here.ready()
        os.kill(third, signal.SIGKILL)
        for _ in range(5):
            assert not await here.client.write(here.ended(5))
        assert here.client._hiring is None, "after two that did nothing it takes its time"


@pytest.mark.asyncio
async def test_one_that_is_cut_off_is_dead_before_anybody_else_writes(tmp_path: Path) -> None:
    async with desk(tmp_path, "always") as here:
        pid = await here.hired()
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await here.client.write(here.ended(5))
        assert not await here.client.write(here.ended(5))
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.asyncio
async def test_what_the_database_says_is_passed_on(tmp_path: Path) -> None:
    import sqlite3

    async with desk(tmp_path, "always") as here:
        pid = await here.hired()
        other = sqlite3.connect(tmp_path / "t.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        rows = here.ended(5)
        with pytest.raises(OSError, match=r"^database is locked$"):
            await here.client.write(rows)
        other.execute("ROLLBACK")
        other.close()
        assert await here.client.write(rows)
        assert await here.ready() == pid, "that is no fault of the scribe's"


@pytest.mark.parametrize("program", ["/nowhere/python", "/bin/true", "/bin/cat"])
@pytest.mark.asyncio
async def test_one_that_cannot_begin_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    """No such program; one that ends at once; one that says what it was not asked."""
    monkeypatch.setattr(sys, "executable", program)
    async with desk(tmp_path, "always") as here:
        assert not await here.client.write(here.ended(5))
        assert here.client._hiring is not None
        await here.client._hiring
        assert not here.client.ready
        assert not await here.client.write(here.ended(5))
        assert here.client._process is None


@pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
def test_it_has_nothing_of_its_worker_but_their_line(tmp_path: Path, kind: str) -> None:
    """Neither under uvloop: what it held open would stay open when the worker is gone."""

    async def work() -> None:
        async with desk(tmp_path, "always") as here:
            pid = await here.hired()
            folder = f"/proc/{pid}/fd"
            held = {name: os.readlink(f"{folder}/{name}") for name in await asyncio.to_thread(os.listdir, folder)}
            others = {name: what for name, what in held.items() if name not in ("0", "1", "2")}
            assert set(others.values()) == {str(here.journal.path)}
            assert held["0"] == held["1"]
            os.kill(pid, signal.SIGKILL)
            assert not await here.client.write(here.ended(5))

    with (tmp_path / "open").open("wb") as file:
        os.set_inheritable(file.fileno(), True)
        run = asyncio.run if kind == "asyncio" else uvloop.run
        run(work())


@pytest.mark.asyncio
async def test_it_is_told_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "canary")
    async with desk(tmp_path, "always") as here:
        pid = await here.hired()
        told = await asyncio.to_thread(Path(f"/proc/{pid}/environ").read_bytes)
        assert b"PYTHONPATH" in told
        assert b"canary" not in told


@pytest.mark.asyncio
async def test_it_ends_with_its_worker_however_that_dies(tmp_path: Path) -> None:
    """The end of its input is all that it waits for; nobody else holds the other side."""
    async with desk(tmp_path, "always") as here:
        pid = await here.hired()
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGINT)
        assert await here.client.write(here.ended(5)), "what goes to the whole group does not end it before its worker"
        assert here.client._line is not None
        assert here.client._process is not None
        here.client._line[1].close()
        assert await asyncio.to_thread(here.client._process.wait, 10) == 0
