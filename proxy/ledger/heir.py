"""Who inherits: what processes that died left in their journals comes into the database, rows as they are and calls that were
open as `interrupted`. Any process may do it at any time; each journal has one heir, since its lock has one holder.
"""

import asyncio
from pathlib import Path

import msgspec
from sqlalchemy import Connection, select

from proxy import log
from proxy.ledger.booked import rows_of
from proxy.ledger.database import Database
from proxy.ledger.journal import Estate, estates
from proxy.ledger.row import now_us
from proxy.ledger.tables import calls

AT_ONCE = 2000  # rows of one transaction
_log = log.get("ledger")


class Heir:
    """Over one database and one folder of journals."""

    def __init__(self, database: Database, folder: Path) -> None:
        self._database = database
        self._folder = folder
        self._insert = database.insert(calls)
        self._task: asyncio.Task[int] | None = None
        self._unread: set[Path] = set()

    async def inherit(self) -> int:
        """Bring what dead processes left in their journals into the database: rows as they are, open calls as
        interrupted. Any process may do it at any time; each journal has one heir. Raises database errors."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._inherit(), name="ledger-heir")
        return await asyncio.shield(self._task)  # who asked may leave; locks that were taken are given back

    async def _inherit(self) -> int:
        count, left = 0, await asyncio.to_thread(estates, self._folder)
        try:
            while left:
                estate = left[-1]
                try:
                    count += await self._settle_estate(estate)
                except msgspec.DecodeError as error:
                    self._left_alone(estate, str(error))
                    left.pop().close(settled=False)
                else:
                    left.pop().close(settled=True)
        finally:
            for estate in left:
                estate.close(settled=False)
        return count

    def _left_alone(self, estate: Estate, why: str) -> None:
        """What another version wrote: it stays for whoever can read it, and keeps nobody from starting. Said once."""
        if estate.path not in self._unread:
            self._unread.add(estate.path)
            _log.error("ledger_journal_unreadable", journal=str(estate.path), why=why)

    async def _settle_estate(self, estate: Estate) -> int:
        rows = rows_of(estate, now_us())
        count = 0
        ids = list(rows)
        for start in range(0, len(ids), AT_ONCE):
            part = ids[start : start + AT_ONCE]

            def inherit(connection: Connection, part: list[str] = part) -> int:
                there = set(connection.execute(select(calls.c.call_id).where(calls.c.call_id.in_(part))).scalars())
                missing = [msgspec.structs.asdict(rows[call_id]) for call_id in part if call_id not in there]
                if missing:
                    connection.execute(self._insert, missing)
                return len(missing)

            count += await self._database.write(inherit)
        if count:
            _log.warning("ledger_inherited", rows=count, journal=estate.path.name)
        return count

    async def aclose(self) -> None:
        """What is under way ends first."""
        if self._task:
            await asyncio.gather(self._task, return_exceptions=True)
