"""`account`: what leaves a reply settles its permit, exactly once, and before the last frame is on its way.

A finished reply is settled *awaiting* the books, if they say that there is anything to wait for; one that its client left, or
that failed, is booked without waiting, since closing must never depend on anybody being there to await it.
"""

import time
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import msgspec

from proxy import estimate
from proxy.call import Attempt, Call, Ending, Served, Target, Usage
from proxy.errors import Internal, TraghettoError
from proxy.ledger.prices import Charge, PriceTable
from proxy.ledger.row import Mark, Row
from proxy.ports import Permit, Reply

if TYPE_CHECKING:
    from proxy.ledger.books import Ledger

_encode = msgspec.json.Encoder().encode


class Metered:
    """A Reply with its permit attached. Closing it twice, or after its end, changes nothing."""

    __slots__ = ("_open", "_permit", "_reply", "content_type", "frames", "headers", "sent", "status")

    def __init__(self, reply: Reply, permit: Permit) -> None:
        self._reply = reply
        self._permit = permit
        self._open = True
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

    async def flow(self, write: Callable[[bytes], bool]) -> bytes:
        """See `proxy.ports.Flows`. What `write` takes is counted; what is returned, like a frame of `next`."""
        reply = self._reply
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
            frame: bytes = await flow(counted)
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
        served = Served(self._reply.usage, ending, self.frames, self.sent)
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
            self._permit.abandon(Served(self._reply.usage, ending, self.frames, self.sent, error))


class Bill:
    """One call, ended: what it used, what that costs, and its row where books are kept on disk."""

    __slots__ = ("_charge", "_prices", "call", "row", "served", "usage")

    def __init__(self, call: Call, served: Served, usage: Usage, prices: PriceTable) -> None:
        self.call = call
        self.served = served
        self.usage = usage
        self.row: Row | None = None
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

    def metered(self, reply: Reply, permit: Permit) -> Metered:
        return Metered(reply, permit)

    # -- a call's life

    def mark(self, call: Call, target: Target) -> None:
        """Before the first byte of an attempt. Raises Unavailable."""
        ledger = self._keeper.ledger
        if ledger is not None:
            assert call.plan is not None
            now = time.time_ns() // 1000
            ledger.open(
                Mark(
                    call.id,
                    call.principal.id,
                    call.operation._value_,
                    call.plan.model.id,
                    target.upstream,
                    target.model,
                    now - int((time.perf_counter() - call.started) * 1e6),
                    self._keeper.rules.prices.version,
                )
            )

    def forget(self, call: Call) -> None:
        """No attempt reached an upstream: there is nothing to book."""
        if self._keeper.ledger is not None:
            self._keeper.ledger.forget(call.id)

    def bill(self, call: Call, served: Served) -> Bill:
        """What the call used and costs; counted from here on."""
        served.usage = usage = estimate.used(call, served)
        bill = Bill(call, served, usage, self._keeper.rules.prices)
        if self._keeper.ledger is not None:
            bill.row = row_of(bill)
        self.endings[served.ending] += 1
        if self._watch is not None:
            self._watch(call, served)
        return bill

    def settle(self, bill: Bill) -> Awaitable[None] | None:
        """None: the row is safe. Else it is when this has been awaited, which raises Unavailable if neither the database nor
        the journal takes it."""
        if self._keeper.ledger is None or bill.row is None:
            return None
        return self._keeper.ledger.put(bill.row)

    def later(self, bill: Bill) -> None:
        if self._keeper.ledger is not None and bill.row is not None:
            self._keeper.ledger.settle_later(bill.row)


def row_of(bill: Bill) -> Row:
    """A call that reached an upstream, as the ledger writes it. Its fields go in by their places: there are 35 of them, and
    this runs for every call."""
    call, served, usage, charge = bill.call, bill.served, bill.usage, bill.charge
    assert call.plan is not None
    started = call.started
    total_us = int((time.perf_counter() - started) * 1e6)
    now_us = time.time_ns() // 1000
    attempts = call.attempts
    first, last = attempts[0], attempts[-1]
    queue_us = int((first.started - started) * 1e6)
    if last.error is None and last.ms is not None:
        ttft_ms = int((last.started - started) * 1e6 + last.ms * 1e3) / 1e3
    else:
        ttft_ms = None
    return Row(
        call.id,
        call.principal.id,
        call.operation._value_,
        call.plan.model.id,
        last.target.upstream,
        last.target.model,
        now_us - total_us,
        now_us,
        served.ending._value_,
        call.stream,
        served.error,
        _tries(attempts),
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.cached_tokens,
        usage.reasoning_tokens,
        usage.characters,
        usage.images,
        usage.source._value_,
        charge.version,
        "USD",
        charge.input_micro,
        charge.cached_micro,
        charge.output_micro,
        charge.unit_micro,
        charge.amount_micro,
        charge.input_price,
        charge.cached_price,
        charge.output_price,
        charge.unit_price,
        charge.unit,
        queue_us / 1e3,
        ttft_ms,
        total_us / 1e3,
        served.sent,
    )


def _tries(attempts: list[Attempt]) -> str:
    """JSON: each attempt with its target, why it was made, why it was left, and how long it took."""
    one = attempts[0]
    if len(attempts) == 1 and one.error is None and one.ms is not None:
        return f"{_good_try(one.target, one.reason)}{one.ms:.3f}}}]"
    return _encode([_try(a.target, a.reason, a.error, a.ms) for a in attempts]).decode()


def _try(target: Target, reason: str, error: str | None, ms: float | None) -> dict[str, object]:
    return {"target": str(target), "reason": reason, "error": error, "ms": None if ms is None else round(ms, 3)}


@lru_cache(maxsize=1024)
def _good_try(target: Target, reason: str) -> str:
    """The text of nearly every call's attempts, up to its time."""
    return _encode([_try(target, reason, None, 0)]).decode().removesuffix("0}]")
