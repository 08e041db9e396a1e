"""A database in trouble, seen through the gateway: calls go on, nothing is lost, and what is wrong is said."""

import contextlib
import http.client
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fakes.counting import Counting, counting
from fakes.gateway import Gateway, gateway, upstream
from fakes.services import Postgres
from proxy.accounts import examine
from proxy.errors import ConfigError
from proxy.limits.reference import Measure

CHAT = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}]}).encode()


@pytest.fixture(scope="module")
def double() -> Iterator[Counting]:
    with counting() as running:
        yield running


def place(double: Counting, store: str) -> str:
    return (
        upstream(double.url).replace("[models.m]", "[models.m]\npricing = {input_usd = 1.0, output_usd = 2.0}") + store
    )


def ask(
    gate: Gateway, path: str = "/v1/chat/completions", body: bytes | None = CHAT
) -> tuple[int, Any, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", gate.port, timeout=20)
    try:
        headers = {"content-type": "application/json"}
        connection.request("POST" if body else "GET", path, body, headers)
        with contextlib.closing(connection.getresponse()) as answer:
            return answer.status, json.loads(answer.read()), dict(answer.headers.items())
    finally:
        connection.close()


def until(done: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it does not come to that"
        time.sleep(0.02)


def state(gate: Gateway) -> str:
    said: str = ask(gate, "/health", None)[1]["ledger"]
    return said


async def written(gate: Gateway) -> None:
    """What was booked so far is in the file."""
    assert gate.app.accounts.ledger is not None
    await gate.app.accounts.ledger.caught_up()


def rows(file: Path) -> dict[str, str]:
    with contextlib.closing(sqlite3.connect(file, timeout=10)) as database:
        return dict(database.execute("SELECT call_id, ending FROM calls"))


@pytest.mark.parametrize("scribe", ["never", "always"])
def test_a_locked_database(double: Counting, tmp_path: Path, scribe: str) -> None:
    file = tmp_path / "t.db"
    with gateway(place(double, f'[store]\nurl = "sqlite:///{file}"\nscribe = "{scribe}"\n')) as gate:
        assert ask(gate)[0] == 200
        gate.call(written(gate))
        until(lambda: gate.app.accounts.state()["ledger_scribe"] == (scribe == "always"))
        assert state(gate) == "ok"
        other = sqlite3.connect(file, isolation_level=None, timeout=5)
        other.execute("BEGIN EXCLUSIVE")
        during = [ask(gate) for _ in range(5)]
        assert [status for status, _, _ in during] == [200] * 5
        until(lambda: state(gate) == "behind")
        assert gate.app.accounts.state()["ledger_behind"] == 5
        other.execute("ROLLBACK")
        other.close()
        until(lambda: state(gate) == "ok")
        found = rows(file)
        assert {headers["x-request-id"] for _, _, headers in during} <= set(found)
        assert set(found.values()) == {"finished"}


def test_a_disk_that_takes_nothing_any_more(double: Counting, tmp_path: Path) -> None:
    """SQLite's own page limit stands for the disk's: every write that needs another page is SQLITE_FULL."""
    file = tmp_path / "t.db"
    with gateway(place(double, f'[store]\nurl = "sqlite:///{file}"\n')) as gate:
        assert ask(gate)[0] == 200
        database: Any = gate.app.accounts.database

        def limit(pages: int) -> None:
            gate.call(database.write(lambda c: c.exec_driver_sql(f"PRAGMA max_page_count = {pages}")))

        limit(1)
        ids = []
        until(lambda: ids.append(ask(gate)[2]["x-request-id"]) or state(gate) == "behind")  # type: ignore[func-returns-value]
        more = [ask(gate) for _ in range(3)]
        assert [status for status, _, _ in more] == [200] * 3
        limit(1 << 30)
        until(lambda: state(gate) == "ok")
        gate.call(written(gate))
        assert {headers["x-request-id"] for _, _, headers in more} | set(ids) <= set(rows(file))


def test_a_file_that_becomes_read_only(double: Counting, tmp_path: Path) -> None:
    """SQLite's own switch stands for the file system's, which binds root too: every write is SQLITE_READONLY."""
    file = tmp_path / "t.db"
    with gateway(place(double, f'[store]\nurl = "sqlite:///{file}"\n')) as gate:
        assert ask(gate)[0] == 200
        gate.call(written(gate))
        assert state(gate) == "ok"
        database: Any = gate.app.accounts.database

        def read_only(on: int) -> None:
            gate.call(database.write(lambda c: c.exec_driver_sql(f"PRAGMA query_only = {on}")))

        read_only(1)
        during = [ask(gate) for _ in range(5)]
        assert [status for status, _, _ in during] == [200] * 5
        until(lambda: state(gate) == "behind")
        assert gate.app.accounts.state()["ledger_behind"] == 5
        assert len(rows(file)) == 1, "nothing was written"
        read_only(0)
        until(lambda: state(gate) == "ok")
        found = rows(file)
        assert {headers["x-request-id"] for _, _, headers in during} <= set(found)
        assert len(found) == 6
        assert set(found.values()) == {"finished"}


def test_a_read_only_file_at_the_start(double: Counting, tmp_path: Path) -> None:
    import asyncio

    from fakes.houses import read

    folder = tmp_path / "shut"
    folder.mkdir()
    (folder / "t.db").mkdir()  # what no user, root included, can write a database into
    with pytest.raises(ConfigError, match="cannot be used") as caught:
        asyncio.run(examine(read(place(double, f'[store]\nurl = "sqlite:///{folder}/t.db"\n')), "127.0.0.1", "t.toml"))
    assert (caught.value.where, caught.value.file) == ("store.url", "t.toml")


def test_a_corrupt_file_at_the_start_is_left_alone(double: Counting, tmp_path: Path) -> None:
    import asyncio

    from fakes.houses import read

    file = tmp_path / "t.db"
    file.write_bytes(b"SQLite format 3\0" + b"\xff" * 8000)
    with pytest.raises(ConfigError, match="cannot be used"):
        asyncio.run(examine(read(place(double, f'[store]\nurl = "sqlite:///{file}"\n')), "127.0.0.1"))
    assert file.read_bytes() == b"SQLite format 3\0" + b"\xff" * 8000


def test_when_the_journal_is_full_too_new_calls_are_refused_before_anything_is_sent(
    double: Counting, tmp_path: Path
) -> None:
    file = tmp_path / "t.db"
    with gateway(
        place(double, f'[store]\nurl = "sqlite:///{file}"\n[tiers.unlimited]\ntext = {{concurrent = 5}}\n')
    ) as gate:
        assert ask(gate)[0] == 200
        ledger: Any = gate.app.accounts.ledger
        journal = ledger._journal
        room, journal._segment, journal.full = journal._segment, 8, True  # as if it had filled up
        end, journal._end = journal._end, journal._at
        seen = len(double.seen)
        status, body, headers = ask(gate)
        assert (status, body["error"]["code"]) == (503, "service_unavailable")
        assert int(headers["retry-after"]) >= 1
        assert len(double.seen) == seen, "nothing was sent"
        journal._segment, journal._end = room, end
        assert ask(gate)[0] == 200
        from proxy.limits.reference import Bucket

        slots = Bucket("anonymous", "m", Measure.CONCURRENT, 5)
        until(lambda: gate.app.accounts.store.peek(slots) == 5)


def test_postgresql_restarted_under_load(double: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAGHETTO_PEPPER", "p" * 40)  # without one, it would be made in the working folder
    server = Postgres()
    try:
        server.start()
        toml = place(double, f'[store]\nurl = "{server.url}"\nfolder = "{server._folder}/own"\n')
        with gateway(toml) as gate:
            assert ask(gate)[0] == 200
            results: list[tuple[int, str]] = []
            stopped = threading.Event()

            def load() -> None:
                while not stopped.is_set():
                    status, _, headers = ask(gate)
                    results.append((status, headers["x-request-id"]))

            threads = [threading.Thread(target=load) for _ in range(4)]
            for thread in threads:
                thread.start()
            try:
                until(lambda: len(results) > 20)
                server.restart()
                server.stop()
                until(lambda: state(gate) == "behind")
                so_far = len(results)
                until(lambda: len(results) > so_far + 20)  # it goes on without its database
                server.start()
                until(lambda: state(gate) == "ok", 60)
            finally:
                stopped.set()
                for thread in threads:
                    thread.join()
            assert {status for status, _ in results} == {200}
            until(lambda: state(gate) == "ok")
            found = gate.call(endings(gate))
            assert {call_id for _, call_id in results} <= set(found)  # type: ignore[call-overload]
            assert len(found) == len(results) + 1  # type: ignore[arg-type]
    finally:
        server.remove()


async def endings(gate: Gateway) -> dict[str, str]:
    from sqlalchemy import select

    from proxy.ledger.tables import calls

    database: Any = gate.app.accounts.database
    found: dict[str, str] = await database.read(
        lambda c: {row.call_id: row.ending for row in c.execute(select(calls.c.call_id, calls.c.ending))}
    )
    return found
