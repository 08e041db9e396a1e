"""The rows of kept answers."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from proxy.errors import Unavailable
from proxy.idempotency import DAY_US, Kept
from proxy.ledger.database import connect
from proxy.ledger.replayrows import SqlReplays

KEPT = Kept("n", "hash", 100, 200, [("content-type", "application/json")], b'{"a":1}\x00\xff')


def test_one_has_the_name_until_it_answers_or_gives_up(tmp_path: Path) -> None:
    async def work() -> None:
        database = await connect(f"sqlite:///{tmp_path}/t.db")
        rows = SqlReplays(database)
        claim = Kept("n", "hash", 100, 0, [("owner", "me")])
        other = msgspec.structs.replace(claim, headers=[("owner", "somebody else")])
        assert await rows.claim(claim, 0, 50) is None
        assert await rows.claim(msgspec.structs.replace(claim, created_us=120), 0, 70) == claim
        await rows.renew(["n", "nobody's"], msgspec.structs.replace(claim, created_us=130))
        await rows.renew(["n"], msgspec.structs.replace(other, created_us=140))
        await rows.drop(other)
        assert (await rows.claim(claim, 0, 129)) == msgspec.structs.replace(claim, created_us=130)
        await rows.drop(claim)
        assert await rows.claim(claim, 0, 50) is None, "it was given up"
        assert await rows.claim(msgspec.structs.replace(claim, created_us=200), 0, 150) is None, "its owner died"
        await rows.put(KEPT)
        assert await rows.claim(claim, 100, 99) == KEPT
        await rows.drop(claim)
        await rows.renew(["n"], msgspec.structs.replace(claim, created_us=999))
        assert await rows.claim(claim, 100, 99) == KEPT, "an answer stays"
        assert await rows.claim(claim, 101, 99) is None, "for a day"
        await database.aclose()

    asyncio.run(work())


def test_the_first_answer_stays_and_old_ones_go(tmp_path: Path) -> None:
    async def work() -> None:
        database = await connect(f"sqlite:///{tmp_path}/t.db")
        rows = SqlReplays(database)
        await rows.put(KEPT)
        await rows.put(msgspec.structs.replace(KEPT, body=b"other"))
        claim = Kept("n", "hash", 300)
        assert await rows.claim(claim, 0, 0) == KEPT
        await rows.put(msgspec.structs.replace(KEPT, name="new", created_us=DAY_US + 101))
        assert await rows.claim(claim, 0, 0) is None, "swept"
        await database.aclose()

    asyncio.run(work())


def test_a_database_that_is_away_is_a_503(tmp_path: Path) -> None:
    async def work() -> None:
        database = await connect(f"sqlite:///{tmp_path}/t.db")
        await database.write(lambda connection: connection.exec_driver_sql("DROP TABLE replays").rowcount)
        with pytest.raises(Unavailable):
            await SqlReplays(database).claim(KEPT, 0, 0)
        await database.aclose()

    asyncio.run(work())
