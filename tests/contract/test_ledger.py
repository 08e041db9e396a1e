"""One suite over SQLite and PostgreSQL: every call has one row, whoever is killed and whatever the database does."""

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, func, select, text

from fakes.services import Postgres, free_port
from proxy.errors import ConfigError, Unavailable
from proxy.ledger.books import Ledger
from proxy.ledger.database import Database, connect
from proxy.ledger.keyrows import KeyRow, KeyRows, TooManyKeys, TooManyNewKeys
from proxy.ledger.row import Mark, Row, now_us
from proxy.ledger.tables import calls, metadata
from proxy.ledger.usage import Filter, bill, receipt, spent, totals


@pytest.fixture(name="url")
def emptied(url: str) -> str:
    if url.startswith("postgresql"):
        asyncio.run(empty(url))
    return url


async def empty(url: str) -> None:
    database = await connect(url)

    def clear(connection: Connection) -> None:
        for table in reversed(metadata.sorted_tables):
            connection.execute(text(f"DELETE FROM {table.name}"))

    await database.write(clear)
    await database.aclose()


class Desk:
    """A ledger, its database, and a way to count."""

    def __init__(self, database: Database, ledger: Ledger, folder: Path) -> None:
        self.database = database
        self.ledger = ledger
        self.folder = folder

    async def rows(self) -> list[dict[str, Any]]:
        def look(connection: Connection) -> list[dict[str, Any]]:
            return [dict(row._mapping) for row in connection.execute(select(calls).order_by(calls.c.call_id))]

        await self.ledger.caught_up()
        return await self.database.read(look)


async def opened(url: str, folder: Path, **more: Any) -> Desk:
    database = await connect(url)
    ledger = Ledger(database, folder, **more)
    await ledger.start()
    return Desk(database, ledger, folder)


def on(url: str, folder: Path, work: Callable[[Desk], Awaitable[None]]) -> None:
    async def run() -> None:
        desk = await opened(url, folder)
        try:
            await work(desk)
        finally:
            await desk.ledger.aclose()
            await desk.database.aclose()

    asyncio.run(run())


def mark(call_id: str, **more: Any) -> Mark:
    given = {"key_id": "k1", "operation": "chat", "model": "m", "upstream": "u", "target": "t", "created_us": now_us()}
    return Mark(call_id=call_id, **{**given, **more})


def row(call_id: str, **more: Any) -> Row:
    given: dict[str, Any] = {
        "key_id": "k1",
        "operation": "chat",
        "model": "m",
        "upstream": "u",
        "target": "t",
        "created_us": now_us(),
        "settled_us": now_us(),
        "ending": "finished",
    }
    return Row(call_id=call_id, **{**given, **more})


def test_a_settled_call_is_there_when_settle_returns(url: str, tmp_path: Path) -> None:
    async def work(desk: Desk) -> None:
        desk.ledger.open(mark("c1"))
        await desk.ledger.settle(row("c1", prompt_tokens=12, usage_source="upstream", total_ms=1.5, stream=True))
        (found,) = await desk.rows()
        assert found["prompt_tokens"] == 12
        assert found["completion_tokens"] is None
        assert found["amount_micro"] is None
        assert found["stream"] is True
        assert found["total_ms"] == 1.5
        again = await receipt(desk.database, "c1", "k1")
        assert again == found
        assert await receipt(desk.database, "c1", "somebody else") is None

    on(url, tmp_path / "journal", work)


def test_settling_twice_is_one_row(url: str, tmp_path: Path) -> None:
    async def work(desk: Desk) -> None:
        await desk.ledger.settle(row("c1", amount_micro=5))
        await desk.ledger.settle(row("c1", amount_micro=7))
        (found,) = await desk.rows()
        assert found["amount_micro"] == 5

    on(url, tmp_path / "journal", work)


def test_many_at_once_are_few_commits(url: str, tmp_path: Path) -> None:
    async def work(desk: Desk) -> None:
        await asyncio.gather(*(desk.ledger.settle(row(f"c{number:04}")) for number in range(600)))
        assert len(await desk.rows()) == 600
        assert desk.ledger.commits <= 10

    on(url, tmp_path / "journal", work)


def test_whoever_waits_and_is_cut_off_leaves_a_row(url: str, tmp_path: Path) -> None:
    async def work(desk: Desk) -> None:
        task = asyncio.create_task(desk.ledger.settle(row("c1")))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await desk.ledger.settle(row("c2"))
        assert [found["call_id"] for found in await desk.rows()] == ["c1", "c2"]

    on(url, tmp_path / "journal", work)


def test_nothing_is_lost_by_closing(url: str, tmp_path: Path) -> None:
    async def work(desk: Desk) -> None:
        for number in range(50):
            desk.ledger.open(mark(f"c{number}"))
            desk.ledger.settle_later(row(f"c{number}"))

    async def look(desk: Desk) -> None:
        assert len(await desk.rows()) == 50

    on(url, tmp_path / "journal", work)
    assert list((tmp_path / "journal").iterdir()) == []
    on(url, tmp_path / "journal", look)


WORKER = """
    import asyncio, os, random, sys, time
    from pathlib import Path
    sys.path[:0] = {paths!r}
    from proxy.call import Attempt, Call, Dialect, Ending, Operation, Plan, Principal, Served, Target, Usage
    from proxy.catalogue import Model
    from proxy.config import Pricing
    from proxy.features import Features
    from proxy.ledger.entry import Entry
    from proxy.ledger.prices import PriceTable
    from proxy.ledger.books import Ledger
    from proxy.ledger.database import connect
    from proxy.ledger.row import Mark, Row, now_us

    TARGET, PRICES = Target("u", "t"), PriceTable({{"m": Pricing(input_usd=1, output_usd=1)}})

    def plain(call):
        made = Call(id=call, operation=Operation.CHAT, dialect=Dialect.OPENAI, request=None, raw=b"", fields={{}},
                    principal=Principal("k"))
        made.plan = Plan(Model(id="m", type="text", name="m", targets=(TARGET,)), (TARGET,), "m", "id", Features({{}}))
        return made

    async def main(url, folder, seen, scribe, name):
        database = await connect(url)
        ledger = Ledger(database, Path(folder), scribe=scribe)
        await ledger.start()
        chance = random.Random(name)
        notes = os.open(seen, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        number = 0

        async def caller():
            nonlocal number
            while True:
                number += 1
                call = f"{{name}}-{{number}}"
                tokens = chance.randint(1, 100)
                if chance.random() < 0.5:
                    made = plain(call)
                    ledger.enter(made, TARGET, now_us(), PRICES)
                    os.write(notes, f"upstream {{call}} 0\\n".encode())
                    made.attempts.append(Attempt(TARGET, started=time.perf_counter(), ms=1.0))
                    await asyncio.sleep(chance.uniform(0, 0.003))
                    served, ended = Served(Usage(0, tokens), Ending.FINISHED, 1, 9), time.perf_counter()
                    if not ledger.finish(made, served, ended):
                        await ledger.settle(Entry(call, "k", Operation.CHAT, "m", False, made.attempts, served,
                            made.started, ended, now_us(), PRICES.version, PRICES.of("m"), "image-unit"))
                    os.write(notes, f"client {{call}} {{tokens}}\\n".encode())
                    continue
                fields = dict(key_id="k", operation="chat", model="m", upstream="u", target="t", created_us=now_us())
                ledger.open(Mark(call_id=call, **fields))
                os.write(notes, f"upstream {{call}} 0\\n".encode())
                tokens = chance.randint(1, 100)
                await asyncio.sleep(chance.uniform(0, 0.003))
                row = Row(call_id=call, settled_us=now_us(), ending="finished", completion_tokens=tokens,
                          amount_micro=tokens, **fields)
                if chance.random() < 0.2:
                    row.ending = "cancelled"
                    ledger.settle_later(row)
                else:
                    await ledger.settle(row)
                    os.write(notes, f"client {{call}} {{tokens}}\\n".encode())

        await asyncio.gather(*(caller() for _ in range(8)))

    asyncio.run(main(*sys.argv[1:]))
"""


def began(worker: "subprocess.Popen[bytes]", deadline: float) -> int:
    """The worker's scribe, once it has one."""
    while True:
        children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
        for child in children:
            with suppress(OSError):  # it ended just now
                if b"ledger.scribe" in Path(f"/proc/{child}/cmdline").read_bytes():
                    return int(child)
        assert time.monotonic() < deadline
        time.sleep(0.01)


def torture(url: str, tmp_path: Path, *, kills: int, scribe: str = "never") -> None:
    """Workers are killed in mid-traffic, and others begin; then the books are held against what was seen. Scribes are killed
    beside them, and now and then right before their worker."""
    script = tmp_path / "worker.py"
    paths = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]
    script.write_text(textwrap.dedent(WORKER).format(paths=paths))
    chance = random.Random(4)
    seen = tmp_path / "seen"
    folder = tmp_path / "journal"

    def spawn(name: int) -> "subprocess.Popen[bytes]":
        return subprocess.Popen([sys.executable, str(script), url, str(folder), str(seen), scribe, f"w{name}"])

    workers = [spawn(0), spawn(1)]
    for count in range(kills):
        before = seen.stat().st_size if seen.exists() else 0
        deadline = time.monotonic() + 20
        while not seen.exists() or seen.stat().st_size < before + 2000:  # they are at work
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.05))
        if scribe == "always":
            found = [began(worker, deadline) for worker in workers]
            time.sleep(chance.uniform(0, 0.2))
            if chance.random() < 0.5:
                os.kill(chance.choice(found), signal.SIGKILL)
        victim = workers.pop(chance.randrange(len(workers)))
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        workers.append(spawn(count + 2))
    for worker in workers:
        worker.send_signal(signal.SIGKILL)
        worker.wait()

    async def check(desk: Desk) -> None:
        upstream: set[str] = set()
        finished: dict[str, int] = {}
        for line in seen.read_text().splitlines():
            who, call, tokens = line.split()
            if who == "upstream":
                upstream.add(call)
            else:
                finished[call] = int(tokens)
        rows = {found["call_id"]: found for found in await desk.rows()}
        assert upstream <= set(rows)
        assert {call: rows[call]["completion_tokens"] for call in finished} == finished
        for call in set(rows) - set(finished):
            assert rows[call]["ending"] in ("cancelled", "interrupted", "finished")
        told = [found for found in rows.values() if found["ending"] == "interrupted"]
        assert told
        assert all(found["amount_micro"] is None for found in told)
        billed = await spent(desk.database, 0)
        assert billed == {"k": sum(found["completion_tokens"] or 0 for found in rows.values())}

    on(url, folder, check)


def test_kill_9(url: str, tmp_path: Path) -> None:
    torture(url, tmp_path, kills=5)


def test_kill_9_with_scribes(tmp_path: Path) -> None:
    torture(f"sqlite:///{tmp_path}/books.db", tmp_path, kills=8, scribe="always")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("scribe", ["never", "always"])
def test_kill_9_two_hundred_times(tmp_path: Path, scribe: str) -> None:
    torture(f"sqlite:///{tmp_path}/books.db", tmp_path, kills=200, scribe=scribe)


def test_a_call_that_never_reached_an_upstream_is_not_booked(tmp_path: Path) -> None:
    url, folder = f"sqlite:///{tmp_path}/books.db", tmp_path / "journal"

    async def work() -> None:
        desk = await opened(url, folder)
        desk.ledger.open(mark("refused"))
        desk.ledger.forget("refused")
        desk.ledger.open(mark("sent"))
        # and dies: its lock goes, nothing else happens
        assert desk.ledger._journal is not None
        desk.ledger._journal.drop()
        heir = await opened(url, folder)
        assert [(found["call_id"], found["ending"]) for found in await heir.rows()] == [("sent", "interrupted")]
        for one in (desk, heir):
            assert one.ledger._writer is not None
            one.ledger._writer.cancel()
            await asyncio.gather(one.ledger._writer, return_exceptions=True)
            await one.database.aclose()

    asyncio.run(work())


# -- what the database does to us


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[tuple[str, Path, Any]]:
    """An SQLite file whose writer's lock somebody else has, until it is told to give it back."""
    file = tmp_path / "books.db"
    asyncio.run(made(f"sqlite:///{file}"))
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield f"sqlite:///{file}", tmp_path / "journal", other
    other.close()


async def made(url: str) -> None:
    await (await connect(url)).aclose()


async def until(true: Callable[[], bool], within_s: float = 15.0) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def test_a_locked_database_delays_rows_and_loses_none(locked: tuple[str, Path, Any]) -> None:
    url, folder, other = locked

    async def work(desk: Desk) -> None:
        began = time.monotonic()
        await desk.ledger.settle(row("c1"))  # in the journal: as safe, and the client need not wait any longer
        assert time.monotonic() - began < 0.1
        await until(lambda: desk.ledger.behind == 1)
        assert "locked" in desk.ledger.trouble
        assert await desk.rows() == []
        other.execute("ROLLBACK")
        await until(lambda: desk.ledger.behind == 0)
        assert len(await desk.rows()) == 1
        assert desk.ledger.trouble == ""

    on(url, folder, work)


def test_rows_in_the_journal_survive_the_process(locked: tuple[str, Path, Any]) -> None:
    url, folder, other = locked

    async def dies() -> None:
        desk = await opened(url, folder)
        desk.ledger.open(mark("c1"))
        await desk.ledger.settle(row("c1", amount_micro=3))
        assert desk.ledger._journal is not None
        desk.ledger._journal.drop()
        assert desk.ledger._writer is not None
        desk.ledger._writer.cancel()
        await asyncio.gather(desk.ledger._writer, return_exceptions=True)
        await desk.database.aclose()

    async def look(desk: Desk) -> None:
        (found,) = await desk.rows()
        assert (found["ending"], found["amount_micro"]) == ("finished", 3)

    asyncio.run(dies())
    other.execute("ROLLBACK")
    on(url, folder, look)


def test_when_the_journal_is_full_too_no_call_is_taken(locked: tuple[str, Path, Any]) -> None:
    url, folder, other = locked

    async def work() -> None:
        desk = await opened(url, folder, segment=8192)
        taken = 0
        try:
            while taken < 1000:
                desk.ledger.open(mark(f"c{taken}"))
                taken += 1
        except Unavailable:
            pass
        assert 10 < taken < 1000
        # what was taken can be settled, and is not lost
        late = [asyncio.create_task(desk.ledger.settle(row(f"c{number}"))) for number in range(taken)]
        done = await asyncio.gather(*late, return_exceptions=True)
        refused = [error for error in done if error is not None]
        assert all(isinstance(error, Unavailable) for error in refused)
        other.execute("ROLLBACK")
        await until(lambda: desk.ledger.behind == 0)
        assert len(await desk.rows()) == taken
        desk.ledger.open(mark("next"))
        desk.ledger.forget("next")
        await desk.ledger.aclose()
        await desk.database.aclose()

    asyncio.run(work())


def test_a_database_that_turns_out_to_be_broken(tmp_path: Path) -> None:
    """The pages of one table are rotten: rows stay in the journal, and the reason is told."""
    file = tmp_path / "books.db"
    url = f"sqlite:///{file}"
    on(url, tmp_path / "journal", fill)
    with closing(sqlite3.connect(file)) as look_inside:
        pages = look_inside.execute("SELECT rootpage FROM sqlite_master WHERE tbl_name = 'calls'").fetchall()
    with file.open("r+b") as rotten:
        for (page,) in pages:
            rotten.seek((page - 1) * 4096)
            rotten.write(b"\x55" * 4096)

    async def work() -> None:
        desk = await opened(url, tmp_path / "journal")
        desk.ledger.open(mark("c2"))
        await desk.ledger.settle(row("c2"))
        await until(lambda: desk.ledger.behind == 1)
        assert "malformed" in desk.ledger.trouble
        await desk.ledger.aclose()
        await desk.database.aclose()
        assert len(list((tmp_path / "journal").iterdir())) == 1

    asyncio.run(work())
    # somebody puts a new file in its place: the row comes out of the journal
    for part in tmp_path.glob("books.db*"):
        part.unlink()

    async def look(desk: Desk) -> None:
        assert [found["call_id"] for found in await desk.rows()] == ["c2"]

    on(f"sqlite:///{file}", tmp_path / "journal", look)


@pytest.mark.parametrize("content", [b"this is not a database" * 100, b"SQLite format 3\x00" + b"\x00\xff" * 4000])
def test_a_corrupt_file_at_the_start_is_one_line(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "books.db"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"books\.db cannot be used: .*") as told:
        asyncio.run(made(f"sqlite:///{file}"))
    assert told.value.where == "store.url"
    assert file.read_bytes() == content


def test_a_server_that_is_not_there_is_one_line() -> None:
    with pytest.raises(ConfigError, match="cannot be used") as told:
        asyncio.run(made(f"postgresql://somebody:hunter2@127.0.0.1:{free_port()}/db"))
    assert "hunter2" not in str(told.value)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file system of fixed size")
def test_a_full_disk_delays_rows_and_loses_none(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("cannot mount a small file system here")
    filler = disk / "filler"

    async def work() -> None:
        desk = await opened(f"sqlite:///{disk}/books.db", disk / "journal", segment=1 << 20)
        for number in range(20):
            await desk.ledger.settle(row(f"a{number:02}"))
        with filler.open("wb", buffering=0) as out:
            try:
                while True:
                    out.write(bytes(4096))
            except OSError:
                pass
        for number in range(300):
            desk.ledger.open(mark(f"b{number:03}"))
            await desk.ledger.settle(row(f"b{number:03}"))
            await asyncio.sleep(0)
        await until(lambda: desk.ledger.behind > 0)
        filler.unlink()
        await until(lambda: desk.ledger.behind == 0)
        assert len(await desk.rows()) == 320
        await desk.ledger.aclose()
        await desk.database.aclose()

    try:
        asyncio.run(work())
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_server_that_restarts_under_load_loses_no_row(postgres: Postgres, tmp_path: Path) -> None:
    asyncio.run(empty(postgres.url))

    async def work(desk: Desk) -> None:
        count = 0
        stop = False

        async def caller() -> None:
            nonlocal count
            while not stop:
                count += 1
                call = f"c{count}"
                desk.ledger.open(mark(call))
                await desk.ledger.settle(row(call))
                await asyncio.sleep(0.005)

        callers = [asyncio.create_task(caller()) for _ in range(8)]
        await until(lambda: count > 200)
        await asyncio.to_thread(postgres.stop)
        before = count
        await until(lambda: count > before + 20)  # the service goes on, on its journal
        await asyncio.to_thread(postgres.start)
        await until(lambda: desk.ledger.behind == 0)
        before = count
        await until(lambda: count > before + 200)
        stop = True
        await asyncio.gather(*callers)
        await until(lambda: desk.ledger.behind == 0)
        assert len(await desk.rows()) == count

    on(postgres.url, tmp_path / "journal", work)


# -- questions


async def fill(desk: Desk) -> None:
    base = 1_700_000_000_000_000
    for number in range(10):
        await desk.ledger.settle(
            row(
                f"c{number}",
                key_id="k1" if number % 2 else "k2",
                created_us=base + number * 1_000_000,
                model="llama",
                prompt_tokens=100,
                cached_tokens=40 if number == 9 else 0,
                completion_tokens=10,
                input_price=700_000_000,
                output_price=2_800_000_000,
                cached_price=350_000_000,
                input_micro=42,
                cached_micro=14 if number == 9 else 0,
                output_micro=28,
                unit_micro=0,
                amount_micro=84 if number == 9 else 70,
                total_ms=12.4,
            )
        )
    await desk.ledger.settle(
        row("img", created_us=base, model="flux", images=2, unit="image-unit", unit_price=10_000_000, unit_micro=20_000)
    )
    await desk.ledger.settle(row("free", created_us=base, model="demo", prompt_tokens=5))


def test_bills(url: str, tmp_path: Path) -> None:
    async def work(desk: Desk) -> None:
        await fill(desk)
        base = 1_700_000_000_000_000
        everything = await bill(desk.database, Filter(limit=500))
        assert everything.total == 22  # ten calls of two lines, one with a third, one image; none of what has no price
        assert [line.kind for line in everything.lines if line.call_id == "c9"] == ["cached", "input", "output"]
        assert everything.lines[0].call_id == "c9"
        assert [line.sku for line in everything.lines if line.call_id == "img"] == ["flux-image-unit"]
        oldest = await bill(
            desk.database, Filter(order="asc", key_id="k1", since_us=base + 1, until_us=base + 5_000_000)
        )
        assert [line.call_id for line in oldest.lines] == ["c1", "c1", "c3", "c3"]
        pages = [await bill(desk.database, Filter(limit=4, page=page)) for page in range(1, 7)]
        assert [found.pages for found in pages] == [6] * 6
        assert [line for found in pages for line in found.lines] == everything.lines
        assert (await bill(desk.database, Filter(currency="DIEM"))).lines == []

    on(url, tmp_path / "journal", work)


def test_sums(url: str, tmp_path: Path) -> None:
    async def work(desk: Desk) -> None:
        await fill(desk)
        assert await spent(desk.database, 0) == {"k1": 70 * 4 + 84, "k2": 350}
        assert await spent(desk.database, 0, ["k2"]) == {"k2": 350}
        assert await spent(desk.database, 1_700_000_008_000_000) == {"k1": 84, "k2": 70}
        found = {(total.day, total.model): total for total in await totals(desk.database, Filter())}
        llama = found["2023-11-14", "llama"]
        assert (llama.calls, llama.prompt_tokens, llama.amount_micro, llama.unpriced) == (10, 1000, 714, 0)
        assert found["2023-11-14", "demo"].unpriced == 1

    on(url, tmp_path / "journal", work)


# -- keys


def key(number: int, **more: Any) -> KeyRow:
    given: dict[str, Any] = {
        "mac": b"m" * 32,
        "last6": "abcdef",
        "admin": False,
        "description": "",
        "created_us": number,
    }
    return KeyRow(id=f"id{number}", **{**given, **more})


def test_keys_come_and_go(url: str, tmp_path: Path) -> None:
    async def work(desk: Desk) -> None:
        rows = KeyRows(desk.database)
        assert await rows.generation() == 0
        await rows.add(key(1, usd_micro=5, models='["m"]'), per_minute=20, active=500)
        await rows.add(key(2, admin=True, expires_us=100), per_minute=20, active=500)
        generation, found = await rows.load()
        assert generation == 2
        assert found == [key(2, admin=True, expires_us=100), key(1, usd_micro=5, models='["m"]')]
        await rows.touch({"id1": 77, "id2": 78})
        await rows.touch({"id1": 60})
        assert [one.last_used_us for one in (await rows.load())[1]] == [78, 77]
        assert await rows.generation() == 2
        assert await rows.revoke("id1", 99)
        assert not await rows.revoke("id1", 99)
        assert [one.id for one in (await rows.load())[1]] == ["id2"]

    on(url, tmp_path / "journal", work)


def test_at_most_so_many_keys(url: str, tmp_path: Path) -> None:
    async def work(desk: Desk) -> None:
        rows = KeyRows(desk.database)
        for number in range(3):
            await rows.add(key(1000 + number), per_minute=3, active=5)
        with pytest.raises(TooManyNewKeys) as told:
            await rows.add(key(2000), per_minute=3, active=5)
        assert told.value.wait_us == 60_000_000 - 1000
        later = 1000 + 60_000_000
        with pytest.raises(TooManyNewKeys):
            await rows.add(key(later - 1), per_minute=3, active=5)
        await rows.add(key(later), per_minute=3, active=5)
        await rows.add(key(later + 1), per_minute=3, active=5)
        with pytest.raises(TooManyKeys):
            await rows.add(key(later + 60_000_000), per_minute=3, active=5)
        await rows.revoke("id1000", later)
        await rows.add(key(later + 60_000_000), per_minute=3, active=5)

    on(url, tmp_path / "journal", work)


def test_many_who_make_keys_at_once_do_not_make_too_many(url: str, tmp_path: Path) -> None:
    async def work(desk: Desk) -> None:
        rows = KeyRows(desk.database)
        tries = (rows.add(key(1000 + number), per_minute=5, active=500) for number in range(12))
        done = await asyncio.gather(*tries, return_exceptions=True)
        assert sum(one is None for one in done) == 5
        assert all(one is None or isinstance(one, TooManyNewKeys) for one in done)

    on(url, tmp_path / "journal", work)


def test_a_token_is_spent_once(url: str, tmp_path: Path) -> None:
    async def work(desk: Desk) -> None:
        rows = KeyRows(desk.database)
        assert await rows.spend("n1", 100, 50)
        assert not await rows.spend("n1", 100, 60)
        assert await rows.spend("n2", 300, 200)  # and n1 is swept out

    on(url, tmp_path / "journal", work)


def test_two_workers_share_one_file(tmp_path: Path) -> None:
    url, folder = f"sqlite:///{tmp_path}/books.db", tmp_path / "journal"

    async def work() -> None:
        desks = [await opened(url, folder) for _ in range(2)]
        jobs = [desk.ledger.settle(row(f"{who}-{n}")) for n in range(200) for who, desk in enumerate(desks)]
        await asyncio.gather(*jobs)
        await desks[0].ledger.caught_up()

        def count(connection: Connection) -> int:
            return connection.execute(select(func.count()).select_from(calls)).scalar_one()

        assert await desks[0].database.read(count) == 400
        for desk in desks:
            await desk.ledger.aclose()
            await desk.database.aclose()

    asyncio.run(work())
