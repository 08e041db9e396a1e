"""The scribe: what it reads on a board is in the file, as the worker itself would have written it."""

import asyncio
import io
import random
import select
import socket
import sqlite3
import subprocess
import sys
from array import array
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from proxy.call import Operation
from proxy.config import Pricing
from proxy.ledger import scribe as scribes
from proxy.ledger.board import Entered
from proxy.ledger.bulk import Bulk, Shape
from proxy.ledger.database import connect
from proxy.ledger.journal import Journal
from proxy.ledger.plain import Facts, Said, Terms
from proxy.ledger.prices import PriceTable
from proxy.ledger.scribe import LENGTH, Scribe, Setup, hear, serve
from proxy.ledger.tables import calls

PRICES = PriceTable({"m": Pricing(input_usd=1.0, output_usd=2.0, cached_input_usd=0.5)})
SHAPE = Shape.of(calls)


class Place:
    """A database with its tables, a journal, and a scribe between them."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "t.db"

        async def make() -> None:
            await (await connect(f"sqlite:///{self.file}")).aclose()

        asyncio.run(make())
        self.journal = Journal(folder / "j")
        self.setup = Setup(str(self.file), str(self.journal.path), SHAPE)
        self.ids = 0

    def ended(self, count: int, key: str = "k", priced: str = "m") -> list[Entered]:
        """Plain calls, each with other figures."""
        terms = Terms(Said(key, Operation.CHAT, priced, True, "u", f"t-{key}", PRICES.version, PRICES.of(priced)))
        chance, found = random.Random(self.ids), []
        for _ in range(count):
            self.ids += 1
            began = chance.random()
            facts: Facts = (began, began + 2, began + 0.1, 7.5, self.ids, 5, chance.randrange(4), 1, 900)
            assert self.journal.board.enter(f"c{self.ids:06}", 1000 + self.ids, terms)
            entered = self.journal.end(f"c{self.ids:06}", facts)
            assert entered is not None
            found.append(entered)
        return found

    def rows(self) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.file)) as database:
            return database.execute("SELECT * FROM calls ORDER BY call_id").fetchall()

    def close(self) -> None:
        self.journal.close()


@pytest.fixture
def place(tmp_path: Path) -> Any:
    with closing(Place(tmp_path)) as made:
        yield made


def words(ended: list[Entered]) -> bytes:
    return array("I", [one[0] for one in ended]).tobytes()


def frame(said: bytes) -> bytes:
    return LENGTH.pack(len(said)) + said


def test_its_rows_are_those_of_the_worker(place: Place) -> None:
    ended = place.ended(150) + place.ended(2, key="other") + place.ended(40, priced="unpriced")
    with closing(Scribe(place.setup)) as scribe:
        scribe.write(words(ended))
        scribe.write(words(ended[:50]))  # as after a crash of either: they are there already
    whole = Bulk(SHAPE).whole
    expected = [whole(shared, one) for shared, own in place.journal.board.parted(ended) for one in own]
    assert place.rows() == [tuple(row) for row in sorted(expected)]


def test_the_board_is_only_read(place: Place) -> None:
    ended = place.ended(3)
    before = place.journal.path.read_bytes()
    with closing(Scribe(place.setup)) as scribe:
        scribe.write(words(ended))
        with pytest.raises(TypeError):
            scribe._room[0] = 1
    assert place.journal.path.read_bytes() == before


def test_what_the_database_refuses_is_not_half_there(place: Place) -> None:
    first, more = place.ended(2), place.ended(500)
    with closing(Scribe(place.setup)) as scribe:
        scribe.write(words(first))
        assert scribe._connection is not None
        scribe._connection.execute("PRAGMA max_page_count = 1")  # SQLite's own limit stands for the disk's
        with pytest.raises(sqlite3.OperationalError, match="full"):
            scribe.write(words(more))
        assert len(place.rows()) == 2
        scribe.write(words(more))
        assert len(place.rows()) == 502


def test_the_log_is_taken_in_and_begins_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scribes, "CHECKPOINT_EVERY", 60)
    log, size, taken = Path(f"{place.file}-wal"), 0, 0
    with closing(Scribe(place.setup)) as scribe:
        for _ in range(20):
            ended = place.ended(250)
            scribe.write(words(ended))
            place.journal.took(0, ended)
            if scribe._taking is not None:
                scribe._taking.join()
                taken += 1
            size = max(size, log.stat().st_size)
        assert taken >= 5
        assert size < 4 * 250 * 1000, "it does not grow with all that was ever written"
    assert len(place.rows()) == 5000


def test_what_it_hears_and_says(place: Place) -> None:
    ended = place.ended(5)
    heard = io.BytesIO(
        frame(msgspec.msgpack.encode(place.setup)) + frame(words(ended[:3])) + frame(words(ended[3:])) + b"\x09\0"
    )
    said = io.BytesIO()
    serve(heard, said)
    assert said.getvalue() == frame(b"") * 3
    assert len(place.rows()) == 5


def test_a_locked_database_is_said_and_tried_again(place: Place) -> None:
    ended = place.ended(3)
    other = sqlite3.connect(place.file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    said = io.BytesIO()

    class Line(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if said.getvalue().count(b"locked") and other.in_transaction:
                other.execute("ROLLBACK")
            return super().read(size)

    serve(Line(frame(msgspec.msgpack.encode(place.setup)) + 2 * frame(words(ended))), said)
    other.close()
    assert said.getvalue() == frame(b"") + frame(b"database is locked") + frame(b"")
    assert len(place.rows()) == 3


def test_a_journal_that_is_gone_is_said(place: Place) -> None:
    said = io.BytesIO()
    serve(io.BytesIO(frame(msgspec.msgpack.encode(Setup("x", "/nowhere/1.journal", SHAPE)))), said)
    assert b"No such file" in said.getvalue()


@pytest.mark.parametrize("data", [b"", b"\x05", frame(b"ab")[:-1]])
def test_an_end_is_an_end(data: bytes) -> None:
    assert hear(io.BytesIO(data)) is None
    said = io.BytesIO()
    serve(io.BytesIO(data), said)
    assert said.getvalue() == b""


def test_a_worker_that_goes_without_hearing_the_answer_is_an_end_as_well(place: Place) -> None:
    """What it had not read makes the end of their line an error; nobody wants a traceback in the log for that."""
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-m", "proxy.ledger.scribe"]
    with theirs, subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE) as scribe:
        theirs.close()
        ours.sendall(frame(msgspec.msgpack.encode(place.setup)))
        assert select.select([ours], [], [], 20)[0], "it is ready, and says so"
        ours.close()
        assert scribe.stderr is not None
        assert (scribe.stderr.read(), scribe.wait(20)) == (b"", 0)
    assert place.rows() == []
