"""Answers under an `Idempotency-Key`, and the sums of the books, over both databases: one path of code."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from sqlalchemy import delete, insert

from proxy.idempotency import DAY_US, LEASE_US, Idempotency, Kept
from proxy.ledger.database import Database, connect
from proxy.ledger.replayrows import SqlReplays
from proxy.ledger.row import Row
from proxy.ledger.tables import calls, replays
from proxy.ledger.usage import Filter, totals

NOW = 1_700_000_000_000_000


def on(url: str, work: Callable[[Database, Database], Awaitable[None]]) -> None:
    """With two connections, as two processes have them; the tables are empty."""

    async def run() -> None:
        one, two = await connect(url), await connect(url)
        for table in (replays, calls):
            await one.write(lambda connection, table=table: connection.execute(delete(table)).rowcount)
        try:
            await work(one, two)
        finally:
            await two.aclose()
            await one.aclose()

    asyncio.run(run())


def claim(owner: str, at: int = NOW) -> Kept:
    return Kept("n", "hash", at, 0, [("owner", owner)])


def test_of_many_who_ask_at_once_one_has_the_name(url: str) -> None:
    async def work(one: Database, two: Database) -> None:
        desks = [SqlReplays(one), SqlReplays(two)]
        for fresh in (True, False):  # nobody has it; then: one had it, and died
            at = NOW if fresh else NOW + LEASE_US
            asked = [desks[n % 2].claim(claim(f"{fresh}{n}", at), 0, at - LEASE_US) for n in range(16)]
            found = await asyncio.gather(*asked)
            assert sum(who is None for who in found) == 1
            assert len({tuple(who.headers) for who in found if who is not None}) == 1

    on(url, work)


def test_an_answer_is_everybodys_for_a_day(url: str) -> None:
    async def work(one: Database, two: Database) -> None:
        here, there = SqlReplays(one), SqlReplays(two)
        assert await here.claim(claim("a"), 0, NOW - 1) is None
        kept = Kept("n", "hash", NOW + 5, 200, [("content-type", "application/json")], b'{"a":1}\x00\xff')
        await here.put(kept)
        assert await there.claim(claim("b", NOW + DAY_US), NOW + 5, NOW + DAY_US - LEASE_US) == kept
        await there.drop(claim("b"))
        assert await there.claim(claim("b", NOW + DAY_US), NOW + 5, NOW + DAY_US - LEASE_US) == kept
        assert await there.claim(claim("b", NOW + DAY_US + 6), NOW + 6, NOW) is None
        await here.drop(claim("a"))
        assert (await here.claim(claim("a", NOW + DAY_US + 7), 0, NOW)) is not None, "it is another's by now"
        await there.drop(claim("b"))
        assert await here.claim(claim("a", NOW + DAY_US + 7), 0, NOW) is None

    on(url, work)


def test_two_processes_make_one_call(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.idempotency.LOOK_S", 0.01)

    async def work(one: Database, two: Database) -> None:
        desks = [Idempotency(SqlReplays(one)), Idempotency(SqlReplays(two))]
        paid = 0

        async def ask(desk: Idempotency) -> bytes:
            nonlocal paid
            flight = desk.take_off("n", "hash")
            kept = await desk.earlier(flight)
            if kept is not None:
                return kept.body
            paid += 1
            flight.begin(200, [(b"content-type", b"text/plain")])
            await asyncio.sleep(0.05)
            flight.add(b"the answer")
            await desk.keep(flight)
            flight.end()
            return b"the answer"

        assert await asyncio.gather(*(ask(desk) for desk in desks)) == [b"the answer"] * 2
        assert paid == 1
        for desk in desks:
            await desk.aclose()

    on(url, work)


def call(number: int, **more: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "call_id": f"req_{number}",
        "key_id": "a",
        "operation": "chat",
        "model": "llama",
        "upstream": "up",
        "target": "m",
        "created_us": NOW,
        "settled_us": NOW,
        "ending": "finished",
        "prompt_tokens": 10,
        "amount_micro": 5,
    }
    return msgspec.structs.asdict(Row(**{**given, **more}))


def test_sums_by_model_key_and_day(url: str) -> None:
    async def work(one: Database, _: Database) -> None:
        rows = [
            call(1),
            call(2, key_id="b"),
            call(3, model="demo", amount_micro=None),
            call(4, created_us=NOW + DAY_US),
        ]
        await one.write(lambda connection: connection.execute(insert(calls), rows).rowcount)

        async def sums(by: Any, **given: Any) -> list[Any]:
            found = await totals(one, Filter(**given), by)
            return [(t.day, t.model, t.key, t.calls, t.prompt_tokens, t.amount_micro, t.unpriced) for t in found]

        assert await sums(("key",)) == [("", "", "a", 3, 30, 10, 1), ("", "", "b", 1, 10, 5, 0)]
        assert await sums(("model",)) == [("", "demo", "", 1, 10, 0, 1), ("", "llama", "", 3, 30, 15, 0)]
        assert await sums(("day",), key_id="a") == [
            ("2023-11-14", "", "", 2, 20, 5, 1),
            ("2023-11-15", "", "", 1, 10, 5, 0),
        ]
        assert len(await sums(("day", "model"))) == 3
        assert await sums((), since_us=NOW + 1) == [("", "", "", 1, 10, 5, 0)]

    on(url, work)
