"""What a dead process left: whoever starts, or reads, brings it in."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from proxy.call import Attempt, Ending, Operation, Served, Target, Usage
from proxy.config import Pricing
from proxy.ledger import heir
from proxy.ledger.books import Ledger
from proxy.ledger.database import connect
from proxy.ledger.entry import Entry
from proxy.ledger.journal import MARK, ROW, Journal
from proxy.ledger.prices import PriceTable
from proxy.ledger.row import Mark, Row, now_us
from proxy.ledger.usage import receipt


def row(call_id: str) -> Row:
    now = now_us()
    return Row(call_id, "k", "chat", "m", "u", "t", now, now, "finished")


def test_an_heir_reckons_what_was_not_reckoned(tmp_path: Path) -> None:
    async def work() -> None:
        database = await connect(f"sqlite:///{tmp_path}/t.db")
        dead = Journal(tmp_path / "j")
        table = PriceTable({"m": Pricing(input_usd=1, output_usd=2)})
        served = Served(Usage(10, 5), Ending.FINISHED, 1, 100)
        tries = [Attempt(Target("u", "t"), started=1.0, ms=2.0)]
        entry = Entry(
            "c1",
            "k",
            Operation.CHAT,
            "m",
            False,
            tries,
            served,
            1.0,
            1.5,
            7,
            table.version,
            table.of("m"),
            "image-unit",
        )
        encode = msgspec.msgpack.encode
        for call_id in ("c1", "open"):
            dead.write(MARK, call_id, encode(Mark(call_id, "k", "chat", "m", "u", "t", 7)))
        dead.write(ROW, "c1", encode(entry))
        dead.write(ROW, "c2", encode(row("c2")))
        dead.drop()  # as the kernel does when a process is killed
        ledger = Ledger(database, tmp_path / "j")
        assert await ledger.start() == 3
        found = await receipt(database, "c1")
        assert found is not None
        assert (found["amount_micro"], found["total_ms"], found["ending"]) == (20, 500.0, "finished")
        left_open = await receipt(database, "open")
        assert left_open is not None
        assert (left_open["ending"], left_open["amount_micro"]) == ("interrupted", None)
        await ledger.aclose()
        await database.aclose()

    asyncio.run(work())


def test_a_journal_that_cannot_be_read_is_named_and_keeps_nobody_from_starting_or_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[tuple[str, str]] = []

    class Log:
        def error(self, what: str, *, journal: str, why: str) -> None:
            said.append((what, Path(journal).name))

        def warning(self, what: str, **more: object) -> None: ...

    monkeypatch.setattr(heir, "_log", Log())

    async def work() -> None:
        database = await connect(f"sqlite:///{tmp_path}/t.db")
        other, strange = Journal(tmp_path / "j"), Journal(tmp_path / "j")
        other.write(ROW, "good", msgspec.msgpack.encode(row("good")))
        strange.write(ROW, "c1", b"\x93\x01\x02\x03")
        for dead in (other, strange):
            dead.drop()
        foreign = tmp_path / "j" / "1-a.journal"
        foreign.write_bytes(b"\1" * 100)
        ledger = Ledger(database, tmp_path / "j")
        assert await ledger.start() == 1
        await ledger.inherit()
        assert await receipt(database, "good") is not None
        assert sorted(said) == sorted(("ledger_journal_unreadable", left.name) for left in (foreign, strange.path))
        assert (foreign.exists(), strange.path.exists(), other.path.exists()) == (True, True, False)
        await ledger.aclose()
        await database.aclose()

    asyncio.run(work())


def test_who_leaves_while_it_inherits_leaves_no_lock(tmp_path: Path) -> None:
    async def work() -> None:
        database = await connect(f"sqlite:///{tmp_path}/t.db")
        dead = Journal(tmp_path / "j")
        dead.write(ROW, "c1", msgspec.msgpack.encode(row("c1")))
        dead.drop()
        ledger = Ledger(database, tmp_path / "j")
        reader = asyncio.create_task(receipt(database, "c1"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
        assert await receipt(database, "c1") is not None
        await ledger.aclose()
        await database.aclose()

    asyncio.run(work())
