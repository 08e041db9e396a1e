"""The rows of answers kept for `Idempotency-Key`: SQL for `proxy.idempotency`. What is too old is swept out by the way."""

from collections.abc import Callable
from typing import TypeVar

import msgspec
from sqlalchemy import Connection, delete, select, update
from sqlalchemy.sql.elements import ColumnElement

from proxy.errors import Unavailable
from proxy.idempotency import DAY_US, Kept
from proxy.ledger.database import FAILURES, Database
from proxy.ledger.tables import replays

T = TypeVar("T")


class SqlReplays:
    """`proxy.idempotency.Replays`. A database that does not answer is an Unavailable: who cannot know, must not pay."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def _write(self, work: Callable[[Connection], T]) -> T:
        try:
            return await self._database.write(work)
        except FAILURES as error:
            raise Unavailable("Earlier answers cannot be looked up at the moment.", retry_after_s=1) from error

    async def claim(self, claim: Kept, since_us: int, stale_us: int) -> Kept | None:
        """One transaction: the row of this name is ours from here on, or somebody else's who is told."""
        put = self._database.insert(replays).values(_values(claim))
        mine = replays.c.name == claim.name
        lapsed = ((replays.c.status == 0) & (replays.c.created_us <= stale_us)) | (replays.c.created_us < since_us)
        take = update(replays).where(mine, lapsed).values(_values(claim))

        def work(connection: Connection) -> dict[str, object] | None:
            if connection.execute(put).rowcount == 1 or connection.execute(take).rowcount == 1:
                return None
            row = connection.execute(select(replays).where(mine)).mappings().first()
            return None if row is None else dict(row)

        row = await self._write(work)
        if row is None:
            return None
        headers = msgspec.json.decode(str(row["headers"]), type=list[tuple[str, str]])
        return Kept(**{**{str(name): value for name, value in row.items()}, "headers": headers})  # type: ignore[arg-type]

    async def put(self, kept: Kept) -> None:
        sweep = delete(replays).where(replays.c.created_us < kept.created_us - DAY_US)
        clear = delete(replays).where(replays.c.name == kept.name, replays.c.status == 0)
        put = self._database.insert(replays).values(_values(kept))

        def work(connection: Connection) -> None:
            for statement in (sweep, clear, put):
                connection.execute(statement)

        await self._write(work)

    async def renew(self, names: list[str], claim: Kept) -> None:
        held = replays.c.name.in_(names) & _held_by(claim)
        change = update(replays).where(held).values(created_us=claim.created_us)
        await self._write(lambda connection: connection.execute(change).rowcount)

    async def drop(self, claim: Kept) -> None:
        gone = delete(replays).where(replays.c.name == claim.name, _held_by(claim))
        await self._write(lambda connection: connection.execute(gone).rowcount)


def _held_by(claim: Kept) -> ColumnElement[bool]:
    return (replays.c.status == 0) & (replays.c.headers == _values(claim)["headers"])


def _values(kept: Kept) -> dict[str, object]:
    return {**msgspec.structs.asdict(kept), "headers": msgspec.json.encode(kept.headers).decode()}
