"""The rows of kept answers."""

import asyncio
from pathlib import Path

import msgspec

from proxy.idempotency import Kept
from proxy.ledger.database import connect
from proxy.ledger.replayrows import SqlReplays


def test_the_first_answer_stays_and_old_ones_go(tmp_path: Path) -> None:
    async def work() -> None:
        database = await connect(f"sqlite:///{tmp_path}/t.db")
        rows = SqlReplays(database)
        kept = Kept("n", "hash", 100, 200, [("content-type", "application/json")], b'{"a":1}\x00\xff')
        await rows.put(kept, 0)
        await rows.put(msgspec.structs.replace(kept, body=b"other"), 0)
        assert await rows.get("n", 100) == kept
        assert await rows.get("n", 101) is None
        assert await rows.get("other", 0) is None
        await rows.put(msgspec.structs.replace(kept, name="new", created_us=300), 200)
        assert await rows.get("n", 0) is None
        await database.aclose()

    asyncio.run(work())
