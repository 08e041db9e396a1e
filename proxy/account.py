"""`account`: what leaves a reply settles its permit, exactly once, and before the last frame is on its way.

A finished reply is settled *awaiting* the books; one that its client left, or that failed, is booked without waiting,
since closing must never depend on anybody being there to await it.
"""

import time
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import msgspec

from proxy import estimate
from proxy.call import Call, Ending, Served, Target, Usage
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
            await self._settle(reply.ending)
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
            await self._settle(reply.ending)
        return frame

    def _failed(self, error: Exception) -> None:
        self._leave(Ending.FAILED, error.code if isinstance(error, TraghettoError) else Internal.code)

    async def _settle(self, ending: Ending) -> None:
        self._open = False
        served = Served(self._reply.usage, ending, self.frames, self.sent)
        try:
            await self._permit.settle(served)
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
            ledger.open(
                Mark(
                    call_id=call.id,
                    key_id=call.principal.id,
                    operation=call.operation.value,
                    model=call.plan.model.id,
                    upstream=target.upstream,
                    target=target.model,
                    created_us=_created_us(call),
                    price_version=self._keeper.rules.prices.version,
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

    async def settle(self, bill: Bill) -> None:
        """Return once the row is safe. Raises Unavailable: neither the database nor the journal takes it."""
        if self._keeper.ledger is not None and bill.row is not None:
            await self._keeper.ledger.settle(bill.row)

    def later(self, bill: Bill) -> None:
        if self._keeper.ledger is not None and bill.row is not None:
            self._keeper.ledger.settle_later(bill.row)


def row_of(bill: Bill) -> Row:
    """A call that reached an upstream, as the ledger writes it."""
    call, served, usage, charge = bill.call, bill.served, bill.usage, bill.charge
    assert call.plan is not None
    now = time.perf_counter()
    first, last = call.attempts[0], call.attempts[-1]
    answered = last.error is None and last.ms is not None
    return Row(
        call_id=call.id,
        key_id=call.principal.id,
        operation=call.operation.value,
        model=call.plan.model.id,
        upstream=last.target.upstream,
        target=last.target.model,
        created_us=_created_us(call),
        settled_us=time.time_ns() // 1000,
        ending=served.ending.value,
        stream=call.stream,
        error=served.error,
        attempts=_tries(call),
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cached_tokens=usage.cached_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        characters=usage.characters,
        images=usage.images,
        usage_source=usage.source.value,
        price_version=charge.version,
        input_micro=charge.input_micro,
        cached_micro=charge.cached_micro,
        output_micro=charge.output_micro,
        unit_micro=charge.unit_micro,
        amount_micro=charge.amount_micro,
        input_price=charge.input_price,
        cached_price=charge.cached_price,
        output_price=charge.output_price,
        unit_price=charge.unit_price,
        unit=charge.unit,
        queue_ms=_ms(first.started - call.started),
        ttft_ms=_ms(last.started - call.started) + (last.ms or 0.0) if answered else None,
        total_ms=_ms(now - call.started),
        bytes_out=served.sent,
    )


def _tries(call: Call) -> str:
    """JSON: each attempt with its target, why it was made, why it was left, and how long it took."""
    one = call.attempts[0]
    if len(call.attempts) == 1 and one.error is None and one.ms is not None:
        return f"{_good_try(one.target, one.reason)}{one.ms:.3f}}}]"
    return _encode([_try(a.target, a.reason, a.error, a.ms) for a in call.attempts]).decode()


def _try(target: Target, reason: str, error: str | None, ms: float | None) -> dict[str, object]:
    return {"target": str(target), "reason": reason, "error": error, "ms": None if ms is None else round(ms, 3)}


@lru_cache(maxsize=1024)
def _good_try(target: Target, reason: str) -> str:
    """The text of nearly every call's attempts, up to its time."""
    return _encode([_try(target, reason, None, 0)]).decode().removesuffix("0}]")


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _created_us(call: Call) -> int:
    return time.time_ns() // 1000 - int((time.perf_counter() - call.started) * 1_000_000)
