"""The rows of answers kept for `Idempotency-Key`: SQL for `proxy.idempotency`. What is too old is swept out by the way."""

import msgspec
from sqlalchemy import Connection, delete, select

from proxy.idempotency import Kept
from proxy.ledger.database import Database
from proxy.ledger.tables import replays


class SqlReplays:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, name: str, since_us: int) -> Kept | None:
        query = select(replays).where(replays.c.name == name, replays.c.created_us >= since_us)
        row = await self._database.read(lambda connection: connection.execute(query).mappings().first())
        if row is None:
            return None
        headers = msgspec.json.decode(row["headers"], type=list[tuple[str, str]])
        return Kept(**{**row, "headers": headers})

    async def put(self, kept: Kept, since_us: int) -> None:
        """Keep an answer, unless one of this name is there."""
        values = {**msgspec.structs.asdict(kept), "headers": msgspec.json.encode(kept.headers).decode()}
        sweep = delete(replays).where(replays.c.created_us < since_us)
        put = self._database.insert(replays).values(values)

        def work(connection: Connection) -> None:
            connection.execute(sweep)
            connection.execute(put)

        await self._database.write(work)
