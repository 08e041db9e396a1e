"""The ledger: what the common suite (tests/contract/test_ledger.py) does not ask."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import asdict
from sqlalchemy import select

from proxy.call import Attempt, Call, Dialect, Ending, Operation, Plan, Principal, Served, Target, Usage
from proxy.catalogue import Model
from proxy.config import Pricing, Scribing
from proxy.features import Features
from proxy.ledger import books
from proxy.ledger.books import Ledger
from proxy.ledger.database import Database, connect
from proxy.ledger.entry import Entry, row_of
from proxy.ledger.journal import ROW, Journal
from proxy.ledger.prices import PriceTable
from proxy.ledger.row import Mark, Row, now_us
from proxy.ledger.tables import calls, prices
from proxy.ledger.usage import receipt

TARGET = Target("u", "t")


def call(call_id: str) -> Call:
    made = Call(
        id=call_id, operation=Operation.CHAT, dialect=Dialect.OPENAI, request=None, raw=b"", fields={},
        principal=Principal("k"),
    )  # fmt: skip
    model = Model(id="m", type="text", name="m", targets=(TARGET,))
    made.plan = Plan(model, model.targets, "m", "id", Features({}))
    made.attempts.append(Attempt(TARGET, started=made.started + 0.01, ms=2.5))
    return made


def row(call_id: str) -> Row:
    now = now_us()
    return Row(call_id, "k", "chat", "m", "u", "t", now, now, "finished")


async def helped(ledger: Ledger, table: PriceTable) -> None:
    """It has a scribe, since it had something to write."""
    made = call("first")
    ledger.enter(made, TARGET, 7, table)
    assert ledger.finish(made, Served(Usage(1, 5), Ending.FINISHED, 1, 100), made.started + 0.25)
    await ledger.caught_up()
    while not ledger.helped:  # noqa: ASYNC110 - a process begins, and tells nobody
        await asyncio.sleep(0.01)


def test_what_a_price_version_meant_is_kept_once(tmp_path: Path) -> None:
    async def work() -> None:
        database = await connect(f"sqlite:///{tmp_path}/t.db")
        ledger = Ledger(database, tmp_path / "j")
        table = PriceTable({"m": Pricing(input_usd=1)})
        await ledger.note_prices(table)
        await ledger.note_prices(table)
        found = await database.read(lambda c: c.execute(select(prices.c.version, prices.c.text)).all())
        assert [tuple(one) for one in found] == [(table.version, '{"m":{"input":1000000000}}')]
        await database.aclose()

    asyncio.run(work())


def test_while_the_database_fails_nobody_waits_for_it_twice(tmp_path: Path) -> None:
    """After the first failure rows go to the journal at once; the database is tried again by the clock."""

    class Failing:
        def __init__(self, real: Any) -> None:
            self.real = real
            self.tries = 0
            self.broken = True

        def __getattr__(self, name: str) -> Any:
            return getattr(self.real, name)

        async def append(self, *given: Any) -> None:
            self.tries += 1
            if self.broken:
                raise OSError("gone")
            await self.real.append(*given)

    async def work() -> None:
        database = await connect(f"sqlite:///{tmp_path}/t.db")
        failing = Failing(database)
        ledger = Ledger(failing, tmp_path / "j")
        await ledger.start()
        for number in range(50):
            await ledger.settle(row(f"c{number}"))
            await ledger.caught_up()
        assert failing.tries <= 2
        assert (ledger.behind, ledger.trouble, ledger.written) == (50, "gone", 0)
        failing.broken = False
        await ledger.settle(row("last"))
        while ledger.behind:  # noqa: ASYNC110 - the clock tries again, and tells nobody
            await asyncio.sleep(0.01)
        assert (ledger.trouble, ledger.written) == ("", 51)
        await ledger.aclose()
        await database.aclose()

    asyncio.run(work())


async def ids(database: Database) -> list[str]:
    """What is in the database, without asking whether anything is missing."""
    return await database.read(lambda c: list(c.execute(select(calls.c.call_id).order_by(calls.c.call_id)).scalars()))


def test_beside_sqlite_nobody_waits_for_the_database(tmp_path: Path) -> None:
    async def work() -> None:
        database = await connect(f"sqlite:///{tmp_path}/t.db")
        ledger = Ledger(database, tmp_path / "j")
        await ledger.start()
        for number in range(100):
            ledger.open(Mark(f"c{number}", "k", "chat", "m", "u", "t", 1))
            assert ledger.put(row(f"c{number}")) is None
        assert await ids(database) == []
        assert await receipt(database, "c99") is not None, "who reads has it written first"
        assert len(await ids(database)) == 100
        assert (ledger.commits, ledger.written, ledger.behind) == (1, 100, 0)
        ledger.put(row("later"))
        while "later" not in await ids(database):  # noqa: ASYNC110 - the clock writes, and tells nobody
            await asyncio.sleep(0.01)
        await ledger.aclose()
        await database.aclose()
        assert list((tmp_path / "j").iterdir()) == []

    asyncio.run(work())


@pytest.mark.parametrize("scribe", ["never", "always"])
def test_a_plain_call_is_booked_in_its_place(tmp_path: Path, scribe: Scribing) -> None:
    """Of many calls, plain ones and others, each has its row, and the row says what its entry would have said."""

    async def work() -> None:
        database = await connect(f"sqlite:///{tmp_path}/t.db")
        ledger = Ledger(database, tmp_path / "j", scribe=scribe)
        await ledger.start()
        before = (0, 0)
        if scribe == "always":
            await helped(ledger, PriceTable({"m": Pricing(input_usd=1, output_usd=2)}))
            before = (ledger.written, ledger.commits)
        table = PriceTable({"m": Pricing(input_usd=1, output_usd=2)})
        entries: dict[str, Entry] = {}
        for number in range(200):
            made = call(f"c{number:03}")
            ledger.enter(made, TARGET, 7, table)
            ending = Ending.CANCELLED if number % 3 == 0 else Ending.FINISHED
            served, ended = Served(Usage(number, 5), ending, 1, 100), made.started + 0.25
            entry = Entry(
                made.id, "k", Operation.CHAT, "m", False, made.attempts, served, made.started, ended, 7, table.version,
                table.of("m"), "image-unit",
            )  # fmt: skip
            entries[made.id] = entry
            if number % 5 == 1:
                ledger.forget(made.id)
                assert not ledger.finish(made, served, ended), "it has no place any more"
            assert ledger.finish(made, served, ended) is (number % 3 != 0 and number % 5 != 1)
            if number % 3 == 0 or number % 5 == 1:
                assert ledger.put(entry) is None
        assert await receipt(database, "c000") is not None
        chosen = select(calls).where(calls.c.call_id != "first").order_by(calls.c.call_id)
        found = await database.read(lambda c: c.execute(chosen).mappings().all())
        assert [dict(one) for one in found] == [asdict(row_of(entries[made])) for made in sorted(entries)]
        assert (ledger.written - before[0], ledger.commits - before[1]) == (200, 1)
        await ledger.aclose()
        await database.aclose()
        assert list((tmp_path / "j").iterdir()) == []

    asyncio.run(work())


def test_who_reads_has_the_neighbours_rows_too(tmp_path: Path) -> None:
    async def work() -> None:
        databases = [await connect(f"sqlite:///{tmp_path}/t.db") for _ in range(3)]
        mine, other, _ = (Ledger(database, tmp_path / "j") for database in databases)
        await mine.start()
        await other.start()
        for number in range(20):
            other.put(row(f"c{number}"))
            for database in (databases[0], databases[2]):  # a worker, and a command that serves nothing
                assert await receipt(database, f"c{number}") is not None
        for ledger in (mine, other):
            await ledger.aclose()
        for database in databases:
            await database.aclose()

    asyncio.run(work())


def test_who_cannot_know_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A neighbour that lives and writes nothing: no answer is better than one that is wrong."""
    monkeypatch.setattr(books, "CATCH_UP_S", 0.05)

    async def work() -> None:
        database = await connect(f"sqlite:///{tmp_path}/t.db")
        ledger = Ledger(database, tmp_path / "j")
        await ledger.start()
        stopped = Journal(tmp_path / "j")
        assert await receipt(database, "c1") is None
        stopped.write(ROW, "c1", b"")
        with pytest.raises(TimeoutError, match="not written"):
            await receipt(database, "c1")
        stopped.took(1)
        assert await receipt(database, "c1") is None
        stopped.close()
        await ledger.aclose()
        await database.aclose()

    asyncio.run(work())


def test_a_scribe_that_is_stopped_or_killed_costs_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is cut off in the middle: those rows come by the worker's own hand, once."""
    monkeypatch.setattr(books, "PATIENCE_S", 0.1)

    async def work() -> None:
        database = await connect(f"sqlite:///{tmp_path}/t.db")
        ledger = Ledger(database, tmp_path / "j", scribe="always")
        await ledger.start()
        table = PriceTable({"m": Pricing(input_usd=1, output_usd=2)})
        await helped(ledger, table)
        assert ledger._scribe is not None
        assert ledger._scribe._process is not None
        os.kill(ledger._scribe._process.pid, signal.SIGSTOP)
        for number in range(300):
            made = call(f"c{number:03}")
            ledger.enter(made, TARGET, 7, table)
            assert ledger.finish(made, Served(Usage(number, 5), Ending.FINISHED, 1, 100), made.started + 0.25)
        while ledger.written < 301:  # noqa: ASYNC110 - the clock tries again, and tells nobody
            await asyncio.sleep(0.01)
        assert len(await ids(database)) == 301
        assert (ledger.trouble, ledger.helped) == ("", False)
        await ledger.aclose()
        await database.aclose()
        assert list((tmp_path / "j").iterdir()) == []

    asyncio.run(work())
