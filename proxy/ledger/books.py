"""The ledger: append-only, one row for each call that reached an upstream, whatever happens to this process.

`open` marks a call before its first byte leaves (in the journal, some microseconds); `settle` returns when its row is in
the database, together with all rows that were waiting (group commit). It knows no prices, limits or replies.

When the database will not take rows (full disk, read-only, locked, corrupt, gone), they go to the journal, which is as
safe from kill -9, and are brought to the database as soon as it takes them again; `behind` counts them. Only when the
journal is full as well does `open` refuse new calls (503): nothing is ever served unbilled, or billed twice, because the
call's id is the key. A call whose process died before its row was safe gets one that says `interrupted`.
"""

import asyncio
import operator
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, select

from proxy import log
from proxy.errors import Unavailable
from proxy.ledger.database import FAILURES, Database, reason
from proxy.ledger.journal import SEGMENT, Estate, Journal, JournalFull, estates
from proxy.ledger.prices import PriceTable
from proxy.ledger.row import Mark, Row, interrupted
from proxy.ledger.tables import calls, prices

PATIENCE_S = 1.0  # a commit that takes longer counts as failed
BATCH = 500
GATHER_S = 0.001
RETRY_S = (0.1, 0.5, 1.0, 2.0, 5.0)

_Waiting = tuple[Row, asyncio.Future[None] | None]
_encode = msgspec.msgpack.Encoder().encode
_mark = msgspec.msgpack.Decoder(Mark).decode
_row = msgspec.msgpack.Decoder(Row).decode
_values = operator.attrgetter(*(column.name for column in calls.columns))  # in the order of the compiled INSERT
_log = log.get("ledger")


def now_us() -> int:
    return time.time_ns() // 1000


class Ledger:
    """Over one database and one folder of journals. Make one in each worker, then `start`."""

    def __init__(self, database: Database, folder: Path, *, segment: int = SEGMENT) -> None:
        self._database = database
        self._folder = folder
        self._segment = segment
        self._journal: Journal | None = None
        self._insert = database.insert(calls)
        self._insert_text = database.compiled(self._insert)
        self._queue: list[_Waiting] = []
        self._spilled: dict[str, Row] = {}
        self._wake = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._closing = False
        self.behind = 0  # rows that only the journal has
        self.written = 0
        self.commits = 0
        self.trouble = ""  # why the database did not take the last rows; "" when it did

    async def start(self) -> int:
        """Inherit from the dead, then take calls. Gives the number of rows that were inherited.

        Raises:
            ConfigError or a database error: there is nowhere to write.
        """
        inherited = await self.inherit()
        self._journal = Journal(self._folder, self._segment)
        self._writer = asyncio.get_running_loop().create_task(self._write(), name="ledger-writer")
        return inherited

    # -- a call's life

    def open(self, mark: Mark) -> None:
        """Before a call's first byte leaves for an upstream; again for each further target.

        Raises:
            Unavailable: the database has been away for so long that nothing more can be promised.
        """
        assert self._journal
        try:
            self._journal.mark(mark.call_id, _encode(mark))
        except (JournalFull, OSError) as error:
            _log.error("journal_full", behind=self.behind, why=str(error))
            raise Unavailable("The accounts cannot be kept at the moment.", retry_after_s=5) from error

    def forget(self, call_id: str) -> None:
        """The call never reached an upstream."""
        assert self._journal
        self._journal.forget(call_id)

    async def settle(self, row: Row) -> None:
        """Return once the row survives this process.

        Raises:
            Unavailable: neither the database nor the journal takes it; it stays in memory and is tried again.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((row, future))
        self._wake.set()
        await future  # whoever waits may be cut off; the row is written all the same

    def settle_later(self, row: Row) -> None:
        """As `settle`, for a call that nobody waits for; a crash in between leaves an `interrupted` row."""
        self._queue.append((row, None))
        self._wake.set()

    # -- the writer

    async def _write(self) -> None:
        failures, again_at = 0, 0.0
        while not (self._closing and not self._queue):
            try:
                async with asyncio.timeout(max(0.0, again_at - time.monotonic()) if self._spilled else None):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            await self._gather()
            batch, self._queue = self._queue[:BATCH], self._queue[BATCH:]
            if failures and time.monotonic() < again_at:
                self._spill(batch)  # it failed just now: nobody waits for it to fail again
            elif await self._commit(late := list(self._spilled.values())[:BATCH], batch):
                failures = 0
                self._took(batch, late)
            else:
                again_at = time.monotonic() + RETRY_S[min(failures, len(RETRY_S) - 1)]
                failures += 1
                self._spill(batch)
            if self._queue or (self._spilled and not failures):
                self._wake.set()

    async def _gather(self) -> None:
        """Let those join who are about to: as long as each turn of the loop brings more, a commit would come too early."""
        size, until = 0, time.monotonic() + GATHER_S
        while size < len(self._queue) < BATCH and time.monotonic() < until:
            size = len(self._queue)
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    async def _commit(self, late: Sequence[Row], batch: Sequence[_Waiting]) -> bool:
        rows = [*late, *(row for row, _ in batch)]
        if not rows:
            return True
        values = [_values(row) for row in rows]
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._database.append(self._insert_text, values)
        except FAILURES as error:
            why = reason(error)
            if why != self.trouble:
                _log.error("ledger_cannot_write", why=why, rows=len(rows))
            self.trouble = why or type(error).__name__
            return False
        if self.trouble:
            _log.warning("ledger_writes_again", rows=len(rows))
        self.trouble = ""
        self.commits += 1
        return True

    def _took(self, batch: Sequence[_Waiting], late: Sequence[Row]) -> None:
        assert self._journal
        self.written += len(batch) + len(late)
        for row in late:
            self._spilled.pop(row.call_id, None)
            self._journal.done(row.call_id)
        self.behind = len(self._spilled)
        for row, future in batch:
            self._journal.done(row.call_id)
            if future and not future.done():
                future.set_result(None)
        self._journal.tidy()

    def _spill(self, batch: Sequence[_Waiting]) -> None:
        assert self._journal
        for row, future in batch:
            self._spilled[row.call_id] = row
            try:
                self._journal.row(row.call_id, _encode(row))
            except (JournalFull, OSError) as error:
                _log.error("journal_full", behind=len(self._spilled), why=str(error))
                if future and not future.done():
                    future.set_exception(Unavailable("The accounts cannot be kept at the moment.", retry_after_s=5))
                    future.exception()  # seen, even if the caller has gone
                continue
            if future and not future.done():
                future.set_result(None)
        self.behind = len(self._spilled)

    # -- beginning and end

    async def inherit(self) -> int:
        """Bring what dead processes left in their journals into the database: rows as they are, open calls as
        interrupted. Any process may do it at any time; each journal has one heir."""
        count = 0
        for estate in await asyncio.to_thread(estates, self._folder):
            settled = False
            try:
                count += await self._settle_estate(estate)
                settled = True
            finally:
                estate.close(settled=settled)
        return count

    async def _settle_estate(self, estate: Estate) -> int:
        now = now_us()
        rows = {row.call_id: row for row in map(_row, estate.rows)}
        for mark in map(_mark, estate.marks):
            if mark.call_id not in rows and mark.call_id not in estate.never:
                rows[mark.call_id] = interrupted(mark, now)
        count = 0
        ids = list(rows)
        for start in range(0, len(ids), BATCH):
            part = ids[start : start + BATCH]

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

    async def note_prices(self, table: PriceTable) -> None:
        """Keep what a price version meant."""
        row: dict[str, Any] = {"version": table.version, "since_us": now_us(), "text": table.text}
        statement = self._database.insert(prices).values(row)

        def work(connection: Connection) -> None:
            connection.execute(statement)

        await self._database.write(work)

    async def aclose(self) -> None:
        """Write what waits; what the database still will not take stays in the journal for the next start."""
        self._closing = True
        self._wake.set()
        if self._writer:
            await self._writer
        if self._journal:
            self._journal.close()
