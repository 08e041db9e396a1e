"""The buckets of one process, in a dict. It is on the hot path of every call, hence synchronous, and knows no other process.

A restart forgets it: a limit then starts full again (`docs` say so); several workers use the shared store instead.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

from proxy.limits.quota import Quota
from proxy.limits.rate import Rate
from proxy.limits.reference import DAY_US, Bucket, Measure, debit, settle, wait_us
from proxy.limits.store import CONCURRENT_WAIT_US, Ask, Grant, Refusal, Shortfall, Used, final

_BUDGET, _TPM = Measure.BUDGET, Measure.TPM
SWEEP_AT = 20_000  # states, before those that say nothing are dropped


def monotonic_us() -> int:
    return time.monotonic_ns() // 1000


class Held:
    """The state of a held bucket: what is spent for good, and what running calls hold."""

    __slots__ = ("at", "held", "used")

    def __init__(self, at: int) -> None:
        self.used = 0
        self.held = 0
        self.at = at  # when it was last asked for, µs; of a budget only, since a free slot may be forgotten at once


class States:
    """The states of one Quota's buckets, side by side. `life` is the store's at the time: while it has not changed, they are
    those that count."""

    __slots__ = ("life", "ones", "rates", "requests", "room", "slots", "tokens")

    def __init__(
        self, life: object, quota: Quota, requests: list[Rate], slots: Held | None, tokens: Rate | None
    ) -> None:
        self.life = life
        self.ones = quota.ones
        self.requests = requests
        self.tokens = tokens
        self.rates = requests if tokens is None else [*requests, tokens]
        self.slots = slots
        self.room = 0 if quota.slots is None else quota.slots.capacity


class MemoryStore:
    """A LimitStore without a second process. `clock` gives µs and never goes back."""

    def __init__(self, clock: Callable[[], int] | None = None) -> None:
        self._clock = clock or monotonic_us
        # for `quick`, in ns and without a function of ours between
        self._clock_ns = time.monotonic_ns if clock is None else lambda: 1000 * clock()
        self._rates: dict[str, Rate] = {}
        self._held: dict[str, Held] = {}
        self._seq = 0  # of the last debit, whatever its bucket: those of one call have one number
        self._life: object = object()  # another one as soon as a state was dropped, or counts in other units
        self._sweep_at = SWEEP_AT

    def reserve_now(self, asks: Sequence[Ask]) -> Grant | Refusal:
        now = self._clock()
        self._sweep(now)
        found: list[Any] = []
        for bucket, amount in asks:
            if bucket.held:
                held = self._held.get(bucket.name) or self._empty(bucket, now)
                if held is None:
                    return Refusal((), unreachable=True)
                if held.used + held.held + amount > bucket.capacity:
                    return self._refused(asks, now)
                found.append(held)
            else:
                level = self._rate(bucket, now).level(now)
                if wait_us(bucket, level, amount) != 0:
                    return self._refused(asks, now)
                found.append(level)
        self._seq = seq = max(self._seq + 1, now)
        left: list[int] = []
        for (bucket, amount), state in zip(asks, found, strict=True):
            if bucket.held:
                state.held += amount
                state.at = now
                left.append(bucket.capacity - state.used - state.held)
            else:
                state.seq = seq - 1
                debit(bucket, state, amount, now)
                self._rate(bucket, now).keep(state, now)
                left.append(state.level // bucket.q)
        return Grant(asks, seq, left)

    def quick(self, quota: Quota, tokens: int | None, purse: Ask | None) -> Grant | None:
        """None, too, where a tide needs another mark."""
        states: States | None = quota.states
        if states is None or states.life is not self._life:
            states = quota.states = self._states(quota)
        clock = self._clock_ns
        now = clock() // 1000
        slots, rates, counted = states.slots, states.requests, states.tokens
        if slots is not None and slots.held >= states.room:
            return None
        if tokens is not None and counted is not None:
            rates = states.rates
            counted.cost = cost = tokens * counted.q
            counted.rest = counted.full - cost
        left: list[int] = []
        for rate in rates:
            back = now * rate.p
            missing = rate.owed - back
            if missing < 0:
                rate.owed = back
                missing = 0
            after = rate.rest - missing
            if after < 0 or missing < rate.floor or missing >= rate.brink:
                return None
            left.append(after // rate.q)
        if purse is not None and not self._pay(purse, now):
            return None
        seq = self._seq + 1
        self._seq = seq = seq if seq > now else now
        for rate in rates:
            rate.owed += rate.cost
            rate.seq = seq
        if slots is not None:
            slots.held += 1
        return Grant((purse,) if purse else (), seq, left, states, tokens)

    def _pay(self, purse: Ask, now: int) -> bool:
        bucket, amount = purse
        held = self._held.get(bucket.name)
        if held is None or held.used + held.held + amount > bucket.capacity:
            return False
        held.held += amount
        held.at = now
        return True

    def _states(self, quota: Quota) -> States:
        now = self._clock()
        self._sweep(now)
        requests = [self._rate(bucket, now) for bucket in quota.requests]
        tokens = None if quota.tokens is None else self._rate(quota.tokens, now)
        slots = None if quota.slots is None else self._held.get(quota.slots.name) or self._empty(quota.slots, now)
        return States(self._life, quota, requests, slots, tokens)

    def _rate(self, bucket: Bucket, now: int) -> Rate:
        """Its state, in its units: the configuration may have given it another capacity."""
        rate = self._rates.get(bucket.name)
        if rate is None:
            rate = self._rates[bucket.name] = Rate(bucket)
        elif rate.bucket is not bucket and rate.bind(bucket, now):
            self._life = object()
        return rate

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
        asks, seq = grant.asks, grant.marks
        states: States | None = grant.states
        if states is not None:
            if used is None:
                asks = [*states.ones, *asks]
            elif states.slots is not None:  # requests stay spent
                states.slots.held -= 1
            reserved, rate = grant.tokens, states.tokens
            if reserved is not None and rate is not None:
                spent = 0 if used is None else used.get(_TPM, reserved)
                # where it was full when another call took something later, a refund is lost: nothing to reckon
                if spent > reserved or (spent < reserved and (rate.floor or rate.seq == seq)):
                    self._replace(rate.bucket, seq, reserved, spent)
        for bucket, reserved in asks:
            spent = final(bucket, reserved, used)
            if bucket.held:
                held = self._held[bucket.name]
                held.held -= reserved
                held.used += spent
            elif spent != reserved:
                self._replace(bucket, seq, reserved, spent)

    def _replace(self, bucket: Bucket, seq: int, reserved: int, spent: int) -> None:
        now = self._clock()
        rate = self._rates.get(bucket.name)
        if rate is None:  # swept while the call ran: it was full, and stays so but for a debt
            rate = self._rate(bucket, now)
            level = rate.level(now)
            level.seq = self._seq
            debit(bucket, level, 0, now)
        else:
            level = rate.level(now)
        if spent > reserved:
            level.seq = max(level.seq, self._seq)
        settle(rate.bucket, level, seq, reserved, spent, now)
        self._seq = max(self._seq, level.seq)
        rate.keep(level, now)

    def peek(self, bucket: Bucket) -> int:
        if bucket.held:
            held = self._held.get(bucket.name)
            return bucket.capacity - (held.used + held.held if held else 0)
        if bucket.name not in self._rates:
            return bucket.capacity
        now = self._clock()
        return self._rate(bucket, now).level(now).level // bucket.q

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

    def _sweep(self, now: int) -> None:
        """Where there are many: drop what is as if nobody had asked, a rate that is full, a slot that is free; and budgets
        that nobody asked for in two days, whose epoch is over."""
        if len(self._rates) + len(self._held) < self._sweep_at:
            return
        self._life = object()
        self._rates = {name: rate for name, rate in self._rates.items() if rate.owed > now * rate.p}
        old = now - 2 * DAY_US
        self._held = {name: held for name, held in self._held.items() if held.held or held.at > old}
        self._sweep_at = max(SWEEP_AT, 2 * (len(self._rates) + len(self._held)))

    def _refused(self, asks: Sequence[Ask], now: int) -> Refusal:
        short: list[Shortfall] = []
        for bucket, amount in asks:
            if bucket.held:
                have = self.peek(bucket)
                if amount > have:
                    short.append(Shortfall(bucket, amount, have, held_wait_us(bucket, amount)))
                continue
            level = self._rate(bucket, now).level(now)
            wait = wait_us(bucket, level, amount)
            if wait != 0:
                short.append(Shortfall(bucket, amount, level.level // bucket.q, wait))
        return Refusal(short)


def held_wait_us(bucket: Bucket, amount: int) -> int | None:
    """What to tell a caller whose held bucket is short: a slot may come free; a budget does not before its epoch ends."""
    return CONCURRENT_WAIT_US if bucket.measure.value == "CONCURRENT" and amount <= bucket.capacity else None
