"""The arithmetic of buckets, pure: every store is held against it. It knows no clock, no store, no key and no call.

A *rate* bucket (RPM, RPD, TPM) holds `capacity` and refills `capacity` per period; a *held* one (concurrency, budgets) has
no refill: what is reserved is held until it is settled. All numbers are integers: time in µs, levels in units of 1/q token,
so that p units come back per µs; nothing is ever rounded in the caller's favour.

Invariant: in every window of w µs, what is admitted (as settled, or as reserved while it runs) is ≤ capacity + w·p/q.
Giving back what a call did not use must not break it: tokens that the bucket would have lost by being full are lost.
`Level.tide` remembers how high the bucket stood since each reservation, and `refund` gives back only what would have fitted.
"""

from enum import StrEnum
from math import gcd

MINUTE_US = 60_000_000
DAY_US = 86_400_000_000
FULL_MAX = 1 << 50  # a full bucket stays below, so that Redis' doubles (2^53) compute exactly, debts included
DEBT_MAX = 1 << 52
BANDS = 16  # the tide's resolution: a refund can fall short only by what was reserved in one band below the brim


class Measure(StrEnum):
    """What a bucket counts."""

    RPM = "RPM"
    RPD = "RPD"
    TPM = "TPM"
    CONCURRENT = "CONCURRENT"
    BUDGET = "BUDGET"

    __hash__ = str.__hash__  # as the string it is: the library's own hash is a Python function


PERIODS_US = {Measure.RPM: MINUTE_US, Measure.RPD: DAY_US, Measure.TPM: MINUTE_US}


class Bucket:
    """One limit of one owner, immutable. Equal names are the same bucket, also with another capacity after a reload.

    `capacity` is in requests, tokens, calls at once, or micro-units of money. `p`/`q` is the refill per µs. A rate so odd
    that it does not fit `FULL_MAX` is made slower, never faster, by at most 1 part in 10,000.
    """

    __slots__ = ("capacity", "full", "held", "measure", "model", "name", "owner", "p", "period_us", "q", "tier")

    def __init__(
        self,
        owner: str,
        model: str,
        measure: Measure,
        capacity: int,
        *,
        tier: str = "default",
        epoch: str = "",
        period_us: int | None = None,
    ) -> None:
        if capacity < 0:
            raise ValueError("a capacity is not negative")
        self.owner = owner
        self.model = model
        self.measure = measure
        self.capacity = capacity
        self.tier = tier
        self.name = "|".join((owner, model, measure.value, epoch)) if epoch else "|".join((owner, model, measure.value))
        self.period_us = period_us or PERIODS_US.get(measure, 0)
        self.held = self.period_us == 0
        self.p, self.q = (0, 1) if self.held else _rate(capacity, self.period_us)
        self.full = capacity * self.q
        if self.full > FULL_MAX:
            raise ValueError(f"a capacity of {capacity} is more than can be counted exactly")

    def __repr__(self) -> str:
        return f"Bucket({self.name}, {self.capacity})"


def share(bucket: Bucket, n: int) -> Bucket:
    """One n-th of a rate bucket, exactly: for a member that has nobody to ask. Its name is the whole one's."""
    part = object.__new__(Bucket)
    for slot in Bucket.__slots__:
        setattr(part, slot, getattr(bucket, slot))
    part.q = bucket.q * n
    part.full = bucket.capacity * bucket.q
    part.capacity = bucket.capacity // n
    return part


def _rate(capacity: int, period_us: int) -> tuple[int, int]:
    if capacity == 0:
        return 0, 1
    common = gcd(capacity, period_us)
    p, q = capacity // common, period_us // common
    if capacity * q > FULL_MAX:
        squeeze = -(-capacity * q // FULL_MAX)
        p, q = p // squeeze, -(-q // squeeze)
        q = max(1, min(q, FULL_MAX // capacity))
        p = min(p, capacity * q // period_us)
    return max(p, 0), q


class Level:
    """The state of a rate bucket. `level` and the tide's peaks are in 1/q tokens, `at` in µs of the store's clock.

    `seq` numbers the debits, and never falls behind the clock, so that a bucket that was dropped and made again is later
    than every reservation of its first life. `tide` holds [seq, level just before that debit], seq rising, peak falling.
    """

    __slots__ = ("at", "level", "q", "seq", "tide")

    def __init__(self, level: int, at: int, q: int, seq: int = 0, tide: list[list[int]] | None = None) -> None:
        self.level = level
        self.at = at
        self.q = q
        self.seq = seq
        self.tide = [] if tide is None else tide


def fresh(bucket: Bucket, now: int) -> Level:
    """A bucket that nobody has used: full."""
    return Level(bucket.full, now, bucket.q)


def refill(bucket: Bucket, state: Level, now: int) -> None:
    """Bring `state` up to `now`. A clock that goes back gives nothing."""
    if state.q != bucket.q:
        _rescale(bucket, state)
    elapsed = now - state.at
    if elapsed > 0:
        state.at = now
        level = state.level + bucket.p * elapsed
        state.level = level if level < bucket.full else bucket.full
    elif state.level > bucket.full:
        state.level = bucket.full


def _rescale(bucket: Bucket, state: Level) -> None:
    """The configuration gave this bucket another capacity: the same tokens in other units, rounded against the caller."""
    old, new = state.q, bucket.q
    state.level = min(state.level * new // old, bucket.full)
    for mark in state.tide:
        mark[1] = min(-(-mark[1] * new // old), bucket.full)
    state.q = new


def wait_us(bucket: Bucket, state: Level, amount: int) -> int | None:
    """µs until `amount` passes, if nobody else takes any; 0 is now, None is never. `state` must be refilled to now."""
    missing = amount * bucket.q - state.level
    if missing <= 0:
        return 0
    if amount > bucket.capacity or bucket.p == 0:
        return None
    return -(-missing // bucket.p)


def debit(bucket: Bucket, state: Level, amount: int, now: int) -> int:
    """Take `amount` tokens (the level may fall below nothing only for what is overdrawn). Gives the debit's number."""
    level = state.level
    seq = state.seq + 1
    if seq < now:
        seq = now
    state.seq = seq
    tide = state.tide
    while tide and tide[-1][1] <= level:
        tide.pop()
    if tide and tide[-1][1] - level < bucket.full // BANDS:
        tide[-1][0] = seq  # one band: the higher peak stands for both
    else:
        tide.append([seq, level])
        if len(tide) > BANDS:  # refunds can crowd the bands: the oldest two become one, at the higher peak
            tide[1][1] = tide[0][1]
            del tide[0]
    level -= amount * bucket.q
    state.level = level if level > -DEBT_MAX else -DEBT_MAX
    return seq


def refund(bucket: Bucket, state: Level, seq: int, amount: int) -> int:
    """Give back `amount` tokens of the debit numbered `seq`, as far as they would have fitted ever since; `state` must be
    refilled to now. Gives what came back, in 1/q tokens."""
    room = amount * bucket.q
    tide = state.tide
    first = len(tide)
    while first and tide[first - 1][0] > seq:
        first -= 1
    if first < len(tide):
        room = max(0, min(room, bucket.full - tide[first][1]))
        # had the call asked for what it used, the bucket would have stood higher at every debit since
        for mark in tide[first:]:
            mark[1] += room
        while first > 0 and tide[first - 1][1] <= tide[first][1]:
            del tide[first - 1]
            first -= 1
    room = max(0, min(room, bucket.full - state.level))
    state.level += room
    return room


def settle(bucket: Bucket, state: Level, seq: int, reserved: int, used: int, now: int) -> None:
    """Replace a reservation by what was really used: a refund, or a debt that the next callers wait for."""
    refill(bucket, state, now)
    if used < reserved:
        refund(bucket, state, seq, reserved - used)
    elif used > reserved:
        debit(bucket, state, used - reserved, now)
