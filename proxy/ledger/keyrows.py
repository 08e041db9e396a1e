"""The keys' rows: SQL for `proxy.keys`, which knows what they mean. No secret comes here but as HMAC.

Every change adds one to the counter "keys" in the same transaction, so that another worker learns by one cheap question
whether it must look again.
"""

from collections.abc import Mapping

import msgspec
from sqlalchemy import Connection, case, delete, func, insert, select, update

from proxy.ledger.database import Database
from proxy.ledger.tables import counters, keys, spent_tokens

MINUTE_US = 60_000_000


class KeyRow(msgspec.Struct, frozen=True):
    """A row of `keys`; limits in micro-units a day, times in µs."""

    id: str
    mac: bytes
    last6: str
    admin: bool
    description: str
    created_us: int
    tier: str = "default"
    models: str | None = None
    usd_micro: int | None = None
    diem_micro: int | None = None
    vcu_micro: int | None = None
    expires_us: int | None = None
    revoked_us: int | None = None
    last_used_us: int | None = None

    def active(self, now_us: int) -> bool:
        return self.revoked_us is None and (self.expires_us is None or now_us < self.expires_us)


class TooManyKeys(Exception):
    """`active` keys exist already."""


class TooManyNewKeys(Exception):
    """So many were made in the last minute; `wait_us` until another may be."""

    def __init__(self, wait_us: int) -> None:
        super().__init__(wait_us)
        self.wait_us = wait_us


class KeyRows:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def generation(self) -> int:
        """A number that grows with every change of any key."""
        query = select(counters.c.value).where(counters.c.name == "keys")
        return await self._database.read(lambda connection: int(connection.execute(query).scalar() or 0))

    async def load(self) -> tuple[int, list[KeyRow]]:
        """The generation, and every key that was not revoked, newest first."""

        def look(connection: Connection) -> tuple[int, list[KeyRow]]:
            number = connection.execute(select(counters.c.value).where(counters.c.name == "keys")).scalar()
            rows = connection.execute(
                select(keys).where(keys.c.revoked_us.is_(None)).order_by(keys.c.created_us.desc())
            )
            return int(number or 0), [KeyRow(**row._mapping) for row in rows]

        return await self._database.read(look)

    async def add(self, row: KeyRow, *, per_minute: int, active: int) -> None:
        """Counted and written in one transaction. Raises TooManyKeys, TooManyNewKeys."""
        bump = self._bump

        def work(connection: Connection) -> None:
            bump(connection)  # first: it holds off everybody else who makes keys until we are done
            now = row.created_us
            living = (keys.c.revoked_us.is_(None)) & ((keys.c.expires_us.is_(None)) | (keys.c.expires_us > now))
            if connection.execute(select(func.count()).select_from(keys).where(living)).scalar_one() >= active:
                raise TooManyKeys
            recent = select(keys.c.created_us).where(keys.c.created_us > now - MINUTE_US)
            times = list(connection.execute(recent.order_by(keys.c.created_us.desc()).limit(per_minute)).scalars())
            if len(times) >= per_minute:
                raise TooManyNewKeys(times[-1] + MINUTE_US - now)
            connection.execute(insert(keys), msgspec.structs.asdict(row))

        await self._database.write(work)

    async def revoke(self, key_id: str, now_us: int) -> bool:
        """Whether there was such a key, not revoked before."""
        bump = self._bump

        def work(connection: Connection) -> bool:
            bump(connection)
            change = update(keys).where(keys.c.id == key_id, keys.c.revoked_us.is_(None)).values(revoked_us=now_us)
            return connection.execute(change).rowcount == 1

        return await self._database.write(work)

    async def touch(self, used: Mapping[str, int]) -> None:
        """When keys were used last, several at once; not a change that anybody must hear of."""
        if not used:
            return
        times = case(used, value=keys.c.id)
        newer = keys.c.last_used_us.is_(None) | (keys.c.last_used_us < times)
        change = update(keys).where(keys.c.id.in_(list(used)), newer).values(last_used_us=times)

        def work(connection: Connection) -> None:
            connection.execute(change)

        await self._database.write(work)

    async def spend(self, nonce: str, expires_us: int, now_us: int) -> bool:
        """Use a single-use token up; False if it was used before. Old ones are swept out."""
        put = self._database.insert(spent_tokens).values(nonce=nonce, expires_us=expires_us)

        def work(connection: Connection) -> bool:
            connection.execute(delete(spent_tokens).where(spent_tokens.c.expires_us < now_us))
            return connection.execute(put).rowcount == 1

        return await self._database.write(work)

    def _bump(self, connection: Connection) -> None:
        connection.execute(self._database.insert(counters).values(name="keys", value=0))
        connection.execute(update(counters).where(counters.c.name == "keys").values(value=counters.c.value + 1))
