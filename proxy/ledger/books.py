"""The ledger: append-only, one row for each call that reached an upstream, whatever happens to this process.

`open` marks a call before its first byte leaves (in the journal, some microseconds). `put` books its row. Beside SQLite that
is done when the row is in the journal too, which is where SQLite's own commit would leave it: in the kernel, safe from
kill -9. The rows of a tenth of a second then go into the file together. PostgreSQL may be on a machine that outlives
this one: there a row is booked with the commit that took it and all that waited beside it. It knows no prices or limits.

Who reads calls asks `caught_up` first (the database's `settled` is that), so that what a client saw finish is there.
When the database will not take rows (full disk, read-only, locked, corrupt, gone), they stay in the journal and are brought
to it as soon as it takes them again; `behind` counts them. Only when the journal is full as well does `open` refuse new
calls (503): nothing is ever served unbilled, or billed twice, because the call's id is the key. A call whose process died
before its row was safe gets one that says `interrupted`.
"""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection

from proxy import log
from proxy.call import Call, Served, Target
from proxy.config import Scribing
from proxy.errors import Unavailable
from proxy.ledger.board import Entered
from proxy.ledger.booked import Booked, values
from proxy.ledger.database import FAILURES, Database, reason
from proxy.ledger.heir import Heir
from proxy.ledger.journal import MARK, ROW, SEGMENT, Journal, JournalFull, lags, over
from proxy.ledger.plain import Known, facts_of
from proxy.ledger.prices import PriceTable
from proxy.ledger.row import Mark, now_us
from proxy.ledger.scribe_client import ScribeClient
from proxy.ledger.tables import calls, prices

PATIENCE_S = 1.0  # a commit that takes longer counts as failed
BATCH = 2000
PERIOD_S = 0.1  # rows that are safe wait so long for others to go into the database with; 20 ms cost 3 µs a call more
GATHER_S = 0.001
CATCH_UP_S = 2.0  # how long who reads waits for the other processes' rows
LOOK_S = 0.005
RETRY_S = (0.1, 0.5, 1.0, 2.0, 5.0)

_Waiting = tuple[Booked, asyncio.Future[None] | None]
_encode = msgspec.msgpack.Encoder().encode
_log = log.get("ledger")


class Ledger:
    """Over one database and one folder of journals. Make one in each worker, then `start`; who only reads needs no start."""

    def __init__(self, database: Database, folder: Path, *, segment: int = SEGMENT, scribe: Scribing = "never") -> None:
        self._database = database
        self._folder = folder
        self._segment = segment
        self._when = scribe
        self._scribe: ScribeClient | None = None
        self._journal: Journal | None = None
        self._heir = Heir(database, folder)
        self._at_once = database.sqlite  # see above
        # as good as written, and not in the database yet: in the journal, in its order; and on its board
        self._late: list[Booked] = []
        self._ended: list[Entered] = []
        self._queue: list[_Waiting] = []  # nowhere but here
        self._queued = self._unqueued = 0  # ever
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._rounds: list[asyncio.Future[None]] = []  # of those who wait for the next try, however it ends
        self._writer: asyncio.Task[None] | None = None
        self._closing = False
        self._terms = Known()
        self.written = 0
        self.commits = 0
        self.trouble = ""  # why the database did not take the last rows; "" when it did
        database.settled = self.caught_up

    @property
    def behind(self) -> int:
        """Rows that the database would not take."""
        return self._waiting if self.trouble else 0

    @property
    def helped(self) -> bool:
        """Whether a scribe writes the rows of plain calls."""
        return self._scribe is not None and self._scribe.ready

    @property
    def _waiting(self) -> int:
        return len(self._late) + len(self._ended) + len(self._queue)

    async def start(self) -> int:
        """Inherit from the dead, then take calls. Gives the number of rows that were inherited.

        Raises:
            ConfigError or a database error: there is nowhere to write.
        """
        inherited = await self.inherit()
        self._journal = journal = Journal(self._folder, self._segment)
        if self._database.file is not None and self._when != "never":
            self._scribe = ScribeClient(self._database.file, journal.path, self._when)
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
            self._journal.write(MARK, mark.call_id, _encode(mark))
        except (JournalFull, OSError) as error:
            _log.error("journal_full", behind=self.behind, why=str(error))
            raise Unavailable("The accounts cannot be kept at the moment.", retry_after_s=5) from error

    def enter(self, call: Call, target: Target, created_us: int, prices: PriceTable) -> None:
        """As `open`, in fewer steps, since nearly every call turns out to be a plain one. Raises Unavailable."""
        journal, plan = self._journal, call.plan
        assert journal
        assert plan
        terms = self._terms[call.principal.id, call.operation, plan.model.id, call.stream, target, prices]
        if journal.full or not journal.board.enter(call.id, created_us, terms):
            self.open(terms.mark(call.id, created_us))

    def finish(self, call: Call, served: Served, ended: float) -> bool:
        """As `put`, for a plain call that was entered; `ended` is a moment of the clock that calls are timed with. False: it
        is no such call, or rows wait for their commit here."""
        facts = facts_of(call, served, ended) if self._at_once else None
        if facts is None:
            return False
        assert self._journal
        entered = self._journal.end(call.id, facts)
        if entered is None:
            return False
        self._ended.append(entered)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PERIOD_S, self._ring)
        return True

    def forget(self, call_id: str) -> None:
        """The call never reached an upstream."""
        assert self._journal
        self._journal.forget(call_id)

    def put(self, row: Booked) -> "asyncio.Future[None] | None":
        """Book a row. None: it survives this process from here on. Else it does when the future is done, which raises
        Unavailable if neither the database nor the journal takes it; it stays in memory and is tried again.
        """
        if self._at_once and self._kept(row):
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(PERIOD_S, self._ring)
            return None
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._enqueue(row, future)
        return future

    async def settle(self, row: Booked) -> None:
        """`put`, and wait as long as that says. Who waits may be cut off; the row is written all the same."""
        waiting = self.put(row)
        if waiting is not None:
            await waiting

    def settle_later(self, row: Booked) -> None:
        """As `settle`, for a call that nobody waits for; a crash before it is written may leave an `interrupted` row."""
        if self._at_once:
            self.put(row)
        else:
            self._enqueue(row, None)

    def _enqueue(self, row: Booked, future: "asyncio.Future[None] | None") -> None:
        self._queue.append((row, future))
        self._queued += 1
        self._wake.set()

    def _kept(self, row: Booked) -> bool:
        """Whether the journal has it now."""
        assert self._journal
        try:
            self._journal.write(ROW, row.call_id, _encode(row))
        except (JournalFull, OSError) as error:
            _log.error("journal_full", behind=self._waiting, why=str(error))
            return False
        self._late.append(row)
        return True

    def _ring(self) -> None:
        self._timer = None
        self._wake.set()

    # -- the writer

    async def _write(self) -> None:
        failures, again_at, last = 0, 0.0, False
        while not (last and (failures or not (self._late or self._ended or self._queue))):
            try:
                async with asyncio.timeout(max(0.0, again_at - time.monotonic()) if failures else None):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            last = self._closing
            if self._queue:
                await self._gather()
            late, ended, batch = self._late[:BATCH], self._ended[:BATCH], self._queue[:BATCH]
            if failures and time.monotonic() < again_at and not last:
                self._spill()  # it failed just now: nobody waits for it to fail again
            elif await self._commit([*late, *(row for row, _ in batch)], ended):
                failures = 0
                self._took(len(late), ended, batch)
            else:
                again_at = time.monotonic() + RETRY_S[min(failures, len(RETRY_S) - 1)]
                failures += 1
                self._spill()
            self._end_round()
            if not failures and (self._queue or BATCH in (len(late), len(ended)) or self._closing):
                self._wake.set()

    def _end_round(self) -> None:
        rounds, self._rounds = self._rounds, []
        for future in rounds:
            if not future.done():
                future.set_result(None)

    async def _gather(self) -> None:
        """Let those join who are about to: as long as each turn of the loop brings more, a commit would come too early."""
        size, until = 0, time.monotonic() + GATHER_S
        while size < len(self._queue) < BATCH and time.monotonic() < until:
            size = len(self._queue)
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    async def _commit(self, rows: Sequence[Booked], ended: Sequence[Entered]) -> bool:
        assert self._journal
        count = len(ended) + len(rows)
        if not count:
            return True
        try:
            async with asyncio.timeout(PATIENCE_S):
                if ended and self._scribe is not None and await self._scribe.write(ended):
                    ended = ()
                if ended or rows:
                    await self._database.append(calls, map(values, rows), self._journal.board.parted(ended))
        except FAILURES as error:
            why = reason(error)
            if why != self.trouble:
                _log.error("ledger_cannot_write", why=why, rows=count)
            self._in_trouble(why or type(error).__name__)
            return False
        if self.trouble:
            _log.warning("ledger_writes_again", rows=count)
        self._in_trouble("")
        self.commits += 1
        self.written += count
        return True

    def _in_trouble(self, why: str) -> None:
        assert self._journal
        self.trouble = why
        self._journal.stuck(bool(why))

    def _took(self, late: int, ended: Sequence[Entered], batch: Sequence[_Waiting]) -> None:
        journal = self._journal
        assert journal
        del self._late[:late]
        del self._ended[: len(ended)]
        journal.took(late, ended)
        self._leave_queue(len(batch))
        for row, future in batch:
            journal.done(row.call_id)
            if future and not future.done():
                future.set_result(None)
        journal.tidy()

    def _leave_queue(self, count: int) -> None:
        del self._queue[:count]
        self._unqueued += count

    def _spill(self) -> None:
        """The queue to the journal; where that is full, it stays, and nobody waits for it."""
        batch = self._queue.copy()
        self._leave_queue(len(batch))
        for row, future in batch:
            if self._kept(row):
                if future and not future.done():
                    future.set_result(None)
                continue
            self._queue.append((row, None))
            self._queued += 1
            if future and not future.done():
                future.set_exception(Unavailable("The accounts cannot be kept at the moment.", retry_after_s=5))
                future.exception()  # seen, even if the caller has gone

    # -- who reads

    async def caught_up(self) -> None:
        """Return when the database has every row that was booked before this began, by any process of this machine; but
        for rows that it would not take, which `behind` counts.

        Raises:
            a database error: what a dead process left cannot be brought in, or a living one does not write.
        """
        await self._flushed()
        if self.trouble:
            return
        own = self._journal.path if self._journal else None
        waiting = await asyncio.to_thread(lags, self._folder, own)
        until = time.monotonic() + CATCH_UP_S
        while waiting:
            await self.inherit()
            waiting = await asyncio.to_thread(over, waiting)
            if waiting and time.monotonic() > until:
                raise TimeoutError(f"{waiting[0].path.name} has rows that are not written")
            await asyncio.sleep(LOOK_S if waiting else 0)

    async def _flushed(self) -> None:
        """This process's own rows, without waiting for the clock."""
        journal, writer = self._journal, self._writer
        if journal is None or writer is None:
            return
        put, queued = journal.put, self._queued
        while (journal.taken < put or self._unqueued < queued) and not self.trouble and not writer.done():
            future = asyncio.get_running_loop().create_future()
            self._rounds.append(future)
            self._wake.set()
            await future

    # -- beginning and end

    async def inherit(self) -> int:
        """See `Heir.inherit`. Raises database errors."""
        return await self._heir.inherit()

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
        if self._timer is not None:
            self._timer.cancel()
        await self._heir.aclose()
        if self._scribe:
            await self._scribe.aclose()
        if self._journal:
            self._journal.close()
