"""`account`: what leaves a reply settles its permit, exactly once, and before the last frame is on its way.

A finished reply is settled *awaiting* the books, if they say that there is anything to wait for; one that its client left, or
that failed, is booked without waiting, since closing must never depend on anybody being there to await it.
"""

import time
from collections.abc import Awaitable, Callable
from math import floor
from typing import TYPE_CHECKING, Protocol

from proxy import estimate
from proxy.call import Call, Ending, Operation, Served, Target, Usage
from proxy.errors import Internal, TraghettoError
from proxy.lane import Lane
from proxy.ledger.entry import Entry
from proxy.ledger.plain import UNIT
from proxy.ledger.prices import Charge, PriceTable
from proxy.ports import Permit, Reply

if TYPE_CHECKING:
    from proxy.ledger.books import Ledger

CLOCK_S = 1.0  # how old the difference of the two clocks may be


class Metered:
    """A Reply with its permit attached. Closing it twice, or after its end, changes nothing."""

    __slots__ = ("_lane", "_open", "_permit", "_reply", "content_type", "frames", "headers", "sent", "status")

    def __init__(self, reply: Reply, permit: Permit) -> None:
        self._reply = reply
        self._permit = permit
        self._open = True
        self._lane: Lane | None = None
        self.frames = 0
        self.sent = 0  # bytes
        self.status = reply.status
        self.content_type = reply.content_type
        self.headers = reply.headers

    @property
    def ending(self) -> Ending | None:
        return self._reply.ending

    @property
    def usage(self) -> Usage | None:
        return self._reply.usage

    async def next(self) -> bytes:
        reply = self._reply
        try:
            frame = await reply.next()
        except Exception as error:
            self._failed(error)
            raise
        self.frames += bool(frame)
        self.sent += len(frame)
        if self._open and reply.ending is not None:
            waiting = self._settle(reply.ending)
            if waiting is not None:
                await waiting
        return frame

    async def flow(self, write: Callable[[bytes], bool], lane: Lane | None = None) -> bytes:
        """See `proxy.ports.Flows`. What `write` takes is counted; what is returned, like a frame of `next`."""
        reply = self._reply
        self._lane = lane
        flow = getattr(reply, "flow", None)
        if flow is None:
            return await self.next()

        def counted(frames: bytes) -> bool:
            if not write(frames):
                return False
            self.frames += 1
            self.sent += len(frames)
            return True

        try:
            frame: bytes = await flow(counted, lane)
        except Exception as error:
            self._failed(error)
            raise
        self.frames += bool(frame)
        self.sent += len(frame)
        if self._open and reply.ending is not None:
            waiting = self._settle(reply.ending)
            if waiting is not None:
                await waiting
        return frame

    def _failed(self, error: Exception) -> None:
        self._leave(Ending.FAILED, error.code if isinstance(error, TraghettoError) else Internal.code)

    def _settle(self, ending: Ending) -> Awaitable[None] | None:
        self._open = False
        served = self._served(ending)
        waiting = self._permit.settle(served)
        return None if waiting is None else self._settled(waiting, served)

    async def _settled(self, waiting: Awaitable[None], served: Served) -> None:
        try:
            await waiting
        except BaseException:  # cut off while it waited: booked without waiting, if it is not booked yet
            self._permit.abandon(served)
            raise

    def close(self) -> None:
        self._leave(Ending.CANCELLED)
        self._reply.close()

    def _leave(self, ending: Ending, error: str | None = None) -> None:
        if self._open:
            self._open = False
            self._permit.abandon(self._served(ending, error))

    def _served(self, ending: Ending, error: str | None = None) -> Served:
        frames, sent, lane = self.frames, self.sent, self._lane
        if lane is not None:
            frames, sent = frames + lane.frames, sent + lane.sent
        return Served(self._reply.usage, ending, frames, sent, error)


class Bill:
    """One call, ended: what it used, what that costs, and what waits to be booked of it."""

    __slots__ = ("_charge", "_prices", "call", "row", "served", "usage")

    def __init__(self, call: Call, served: Served, usage: Usage, prices: PriceTable) -> None:
        self.call = call
        self.served = served
        self.usage = usage
        self.row: Entry | None = None
        self._prices = prices
        self._charge: Charge | None = None

    @property
    def charge(self) -> Charge:
        """Reckoned when it is asked for: neither a row nor a budget may want it."""
        if self._charge is None:
            assert self.call.plan is not None
            self._charge = self._prices.charge(self.call.plan.model.id, self.usage, estimate.unit_of(self.call))
        return self._charge

    @property
    def amount_micro(self) -> int | None:
        return self.charge.amount_micro


class Keeper(Protocol):
    """Who has the ledger (None: nothing is written down) and the prices."""

    @property
    def ledger(self) -> "Ledger | None": ...
    @property
    def rules(self) -> "Priced": ...


class Priced(Protocol):
    @property
    def prices(self) -> PriceTable: ...


class Books:
    """The ledger's place in the house. `endings` counts calls by how they ended; `watch` is told of each."""

    def __init__(self, keeper: Keeper, watch: Callable[[Call, Served], None] | None = None) -> None:
        self._keeper = keeper
        self._watch = watch
        self.endings: dict[Ending, int] = dict.fromkeys(Ending, 0)
        self._ahead_us = 0  # the wall's clock less the one that calls are timed with
        self._until = float("-inf")

    def metered(self, reply: Reply, permit: Permit) -> Metered:
        return Metered(reply, permit)

    # -- a call's life

    def mark(self, call: Call, target: Target) -> None:
        """Before the first byte of an attempt. Raises Unavailable."""
        ledger = self._keeper.ledger
        if ledger is not None:
            ledger.enter(call, target, self._wall_us(call.started), self._keeper.rules.prices)

    def forget(self, call: Call) -> None:
        """No attempt reached an upstream: there is nothing to book."""
        if self._keeper.ledger is not None:
            self._keeper.ledger.forget(call.id)

    def bill(self, call: Call, served: Served) -> Bill:
        """What the call used and costs; counted from here on. A plain one is booked with that, and has no row to settle."""
        served.usage = usage = estimate.used(call, served)
        prices = self._keeper.rules.prices
        bill = Bill(call, served, usage, prices)
        ledger = self._keeper.ledger
        if ledger is not None:
            ended = time.perf_counter()
            if not ledger.finish(call, served, ended):
                bill.row = self._entry(call, served, ended, prices)
        self.endings[served.ending] += 1
        if self._watch is not None:
            self._watch(call, served)
        return bill

    def _entry(self, call: Call, served: Served, ended: float, prices: PriceTable) -> Entry:
        assert call.plan is not None
        model, started, operation = call.plan.model.id, call.started, call.operation
        return Entry(
            call.id,
            call.principal.id,
            operation,
            model,
            call.stream,
            call.attempts,
            served,
            started,
            ended,
            self._wall_us(started),
            prices.version,
            prices.of(model),
            estimate.unit_of(call) if operation is Operation.UPSCALE else UNIT,
        )

    def _wall_us(self, at: float) -> int:
        """A moment of the clock that calls are timed with → µs since 1970. Asking both clocks each time costs more."""
        if at > self._until:
            now = time.perf_counter()
            self._ahead_us, self._until = time.time_ns() // 1000 - int(now * 1e6), now + CLOCK_S
        return self._ahead_us + floor(at * 1e6)

    def settle(self, bill: Bill) -> Awaitable[None] | None:
        """None: the row is safe. Else it is when this has been awaited, which raises Unavailable if neither the database nor
        the journal takes it."""
        if self._keeper.ledger is None or bill.row is None:
            return None
        return self._keeper.ledger.put(bill.row)

    def later(self, bill: Bill) -> None:
        if self._keeper.ledger is not None and bill.row is not None:
            self._keeper.ledger.settle_later(bill.row)
