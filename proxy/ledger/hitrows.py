"""The rows of exceeded limits: SQL for `proxy.limits.hits`. Old ones go when new ones come; a thousand are kept."""

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, delete, insert, select

from proxy.ledger.database import Database
from proxy.ledger.tables import rate_hits
from proxy.limits.hits import Hit

KEPT = 1000


class SqlHits:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, hits: Sequence[Hit]) -> None:
        values = [msgspec.structs.asdict(hit) for hit in hits]

        def work(connection: Connection) -> None:
            connection.execute(insert(rate_hits), values)
            by_time = select(rate_hits.c.at_us).order_by(rate_hits.c.at_us.desc())
            oldest = connection.execute(by_time.offset(KEPT - 1).limit(1)).scalar()
            if oldest is not None:
                connection.execute(delete(rate_hits).where(rate_hits.c.at_us < oldest))

        await self._database.write(work)

    async def last(self, count: int, key_id: str | None = None) -> list[Hit]:
        query = select(rate_hits).order_by(rate_hits.c.at_us.desc(), rate_hits.c.id).limit(count)
        if key_id is not None:
            query = query.where(rate_hits.c.key_id == key_id)
        return await self._database.read(lambda connection: [Hit(**row._mapping) for row in connection.execute(query)])
