"""The buckets of one process, in a dict. It is on the hot path of every call, hence synchronous, and knows no other process.

A restart forgets it: a limit then starts full again (`docs` say so); several workers use the shared store instead.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

from proxy.limits.reference import BANDS, DAY_US, Bucket, Level, Measure, debit, fresh, refill, settle, wait_us
from proxy.limits.store import CONCURRENT_WAIT_US, Ask, Grant, Refusal, Shortfall, Used

_BUDGET, _CONCURRENT = Measure.BUDGET, Measure.CONCURRENT
SWEEP_AT = 20_000  # buckets, before those that are full again are dropped


def monotonic_us() -> int:
    return time.monotonic_ns() // 1000


class Held:
    """The state of a held bucket: what is spent for good, and what running calls hold."""

    __slots__ = ("at", "held", "used")

    def __init__(self, at: int) -> None:
        self.used = 0
        self.held = 0
        self.at = at  # when it was last asked for, µs


class MemoryStore:
    """A LimitStore without a second process. `clock` gives µs and never goes back."""

    def __init__(self, clock: Callable[[], int] = monotonic_us) -> None:
        self._clock = clock
        self._levels: dict[str, Level] = {}
        self._held: dict[str, Held] = {}
        self._sweep_at = SWEEP_AT

    def reserve_now(self, asks: Sequence[Ask]) -> Grant | Refusal:
        """fast path: `refill`, and `debit` where the tide needs no new mark, are written out."""
        now = self._clock()
        marks: list[Any] = []  # first the states, then what is to be remembered of each
        for bucket, amount in asks:
            if bucket.held:
                held = self._held.get(bucket.name) or self._empty(bucket, now)
                if held is None:
                    return Refusal((), unreachable=True)
                if held.used + held.held + amount > bucket.capacity:
                    return self._refused(asks, now)
                marks.append(held)
                continue
            level = self._levels.get(bucket.name)
            if level is None:
                level = self._levels[bucket.name] = self._new(bucket, now)
            elif level.q == bucket.q and now > level.at:
                units = level.level + bucket.p * (now - level.at)
                level.level = units if units < bucket.full else bucket.full
                level.at = now
            else:
                refill(bucket, level, now)
            if amount * bucket.q > level.level:
                return self._refused(asks, now)
            marks.append(level)
        left: list[int] = []
        for place, (bucket, amount) in enumerate(asks):
            state = marks[place]
            if bucket.held:
                state.held += amount
                state.at = now
                marks[place] = 0
                left.append(bucket.capacity - state.used - state.held)
                continue
            units, tide = state.level, state.tide
            mark = tide[-1] if tide else None
            if mark is not None and (
                0 < mark[1] - units < bucket.full // BANDS or (mark[1] <= units and len(tide) == 1)
            ):
                seq = state.seq + 1
                mark[0] = state.seq = seq = seq if seq > now else now
                if mark[1] < units:
                    mark[1] = units
                state.level = units = units - amount * bucket.q
            else:
                seq = debit(bucket, state, amount, now)
                units = state.level
            marks[place] = seq
            left.append(units // bucket.q)
        return Grant(asks, marks, left)

    def _empty(self, bucket: Bucket, now: int) -> Held | None:
        """None for a budget: nobody has said what was spent before."""
        if bucket.measure is _BUDGET:
            return None
        held = self._held[bucket.name] = Held(now)
        return held

    async def reserve(self, asks: Sequence[Ask]) -> Grant | Refusal:
        return self.reserve_now(asks)

    def cancel(self, grant: Grant) -> None:
        self.settle(grant, None)

    def settle(self, grant: Grant, used: Used | None) -> None:
        if not grant.open:
            return
        grant.open = False
        for (bucket, reserved), mark in zip(grant.asks, grant.marks, strict=True):
            if bucket.measure is _CONCURRENT or used is None:
                spent = 0
            else:
                spent = used.get(bucket.measure, reserved)
            if bucket.held:
                held = self._held[bucket.name]
                held.held -= reserved
                held.used += spent
            elif spent != reserved:
                level = self._levels.get(bucket.name)
                if level is not None and spent < reserved and level.q == bucket.q and level.tide:
                    last = level.tide[-1]
                    if last[0] > mark and last[1] >= bucket.full:
                        continue  # fast path: full ever since, so that a refund of it would be lost
                self._replace(bucket, mark, reserved, spent)

    def _replace(self, bucket: Bucket, mark: int, reserved: int, spent: int) -> None:
        now = self._clock()
        level = self._levels.get(bucket.name)
        if level is None:  # swept while the call ran: it was full, and stays so but for a debt
            level = self._levels[bucket.name] = fresh(bucket, now)
            debit(bucket, level, 0, now)
        settle(bucket, level, mark, reserved, spent, now)

    def peek(self, bucket: Bucket) -> int:
        if bucket.held:
            held = self._held.get(bucket.name)
            return bucket.capacity - (held.used + held.held if held else 0)
        level = self._levels.get(bucket.name)
        if level is None:
            return bucket.capacity
        refill(bucket, level, self._clock())
        return level.level // bucket.q

    def seed(self, bucket: Bucket, spent: int) -> None:
        if bucket.name not in self._held:
            held = self._held[bucket.name] = Held(self._clock())
            held.used = spent

    def seeded(self, bucket: Bucket) -> bool:
        return bucket.name in self._held

    async def start(self) -> None:
        """Nothing to open."""

    async def aclose(self) -> None:
        """Nothing to close."""

    def _new(self, bucket: Bucket, now: int) -> Level:
        if len(self._levels) >= self._sweep_at:
            self._sweep(now)
        return fresh(bucket, now)

    def _sweep(self, now: int) -> None:
        """Drop what nobody asked for in two days: a rate is full again, a slot is free, a budget's epoch is over."""
        old = now - 2 * DAY_US  # in place: whoever sweeps is in the middle of a call's buckets
        for name in [name for name, level in self._levels.items() if level.at < old]:
            del self._levels[name]
        for name in [name for name, held in self._held.items() if not held.held and held.at < old]:
            del self._held[name]
        self._sweep_at = max(SWEEP_AT, 2 * len(self._levels))

    def _refused(self, asks: Sequence[Ask], now: int) -> Refusal:
        short: list[Shortfall] = []
        for bucket, amount in asks:
            if bucket.held:
                have = self.peek(bucket)
                if amount > have:
                    short.append(Shortfall(bucket, amount, have, held_wait_us(bucket, amount)))
                continue
            level = self._levels.get(bucket.name)
            if level is None:
                level = fresh(bucket, now)
            refill(bucket, level, now)
            wait = wait_us(bucket, level, amount)
            if wait != 0:
                short.append(Shortfall(bucket, amount, level.level // bucket.q, wait))
        return Refusal(short)


def held_wait_us(bucket: Bucket, amount: int) -> int | None:
    """What to tell a caller whose held bucket is short: a slot may come free; a budget does not before its epoch ends."""
    return CONCURRENT_WAIT_US if bucket.measure.value == "CONCURRENT" and amount <= bucket.capacity else None
