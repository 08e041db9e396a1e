"""The ledger: what the common suite (tests/contract/test_ledger.py) does not ask."""

import asyncio
from pathlib import Path
from typing import Any

from sqlalchemy import select

from proxy.config import Pricing
from proxy.ledger.books import Ledger, now_us
from proxy.ledger.database import connect
from proxy.ledger.prices import PriceTable
from proxy.ledger.row import Row
from proxy.ledger.tables import prices


def row(call_id: str) -> Row:
    now = now_us()
    return Row(call_id, "k", "chat", "m", "u", "t", now, now, "finished")


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

        async def append(self, statement: str, rows: Any) -> None:
            self.tries += 1
            if self.broken:
                raise OSError("gone")
            await self.real.append(statement, rows)

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
