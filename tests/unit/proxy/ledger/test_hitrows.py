"""The rows of exceeded limits."""

import asyncio
from pathlib import Path

import pytest

from proxy.ledger import hitrows
from proxy.ledger.database import connect
from proxy.limits.hits import Hit


def hit(at: int, key: str = "k") -> Hit:
    return Hit(f"{at:032}", at, key, "m", "default", "RPM", 1, -2, None if at % 2 else at + 5)


def test_newest_first_of_one_key_or_all_and_the_oldest_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hitrows, "KEPT", 10)

    async def work() -> None:
        database = await connect(f"sqlite:///{tmp_path}/t.db")
        rows = hitrows.SqlHits(database)
        for start in range(0, 30, 3):
            await rows.add([hit(start), hit(start + 1, "other"), hit(start + 2)])
        assert await rows.last(3) == [hit(29), hit(28, "other"), hit(27)]
        assert await rows.last(50, "other") == [hit(28, "other"), hit(25, "other"), hit(22, "other")]
        assert len(await rows.last(50)) == 10
        await database.aclose()

    asyncio.run(work())
