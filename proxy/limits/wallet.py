"""What one member of a Redis house has in hand of each bucket: promised to it, not yet spent or not yet reported.

Pure bookkeeping without I/O; `redis` visits the house. A wallet can only be spent from while Redis still counts its
content as promised, which `expires` (on this machine's clock, from before the question was sent) makes sure of.
"""

import itertools
import os
from collections.abc import Sequence

from proxy.limits.reference import Bucket, Measure
from proxy.limits.store import Ask, Grant, Refusal, Shortfall, Used

_CONCURRENT = Measure.CONCURRENT
LARGE = 1000  # a rate of this capacity is leased in slices of a hundredth
BLOCK_US = 50_000  # how long an empty bucket is not asked for again
_wallets = itertools.count()


class Batch:
    """What was spent between two reports. `seq` is the number of the debit in Redis: None until it is known."""

    __slots__ = ("seq", "void")

    def __init__(self) -> None:
        self.seq: int | None = None
        self.void = False


DEBT = Batch()
DEBT.seq = 0


class Wallet:
    """`free` may be spent; `spent` is all that ever was (a report says it again, so a report lost is no loss)."""

    __slots__ = (
        "active",
        "batch",
        "blocked_until",
        "bucket",
        "expires",
        "free",
        "held",
        "id",
        "known",
        "left",
        "refunds",
        "seed",
        "seen_at",
        "spent",
        "units",
    )

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        self.id = f"{os.getpid():x}.{os.urandom(3).hex()}.{next(_wallets):x}"
        self.free = 0
        self.spent = 0
        self.held = 0  # of a held bucket: what running calls have
        self.expires = 0
        self.batch = Batch()
        self.refunds: list[tuple[Batch, int]] = []
        self.active = False  # something to report, or spent from since the last report
        self.units = 0  # what was free in Redis at the last visit, in 1/q tokens
        self.left = 0  # the same in tokens
        self.seen_at = 0  # when that was, on this machine's clock
        self.blocked_until = 0
        self.seed = -1 if bucket.measure.value == "BUDGET" else 0
        self.known = bucket.measure.value != "BUDGET"  # whether Redis has it, for budgets

    def has(self, amount: int, now: int) -> bool:
        if not self.bucket.held and now >= self.expires:
            self.free = 0
        return self.free >= amount

    def slice(self) -> int:
        """How much to take at once if plenty is left."""
        capacity = self.bucket.capacity
        if self.bucket.held:
            return capacity // 16
        return capacity // 100 if capacity >= LARGE else 0

    def forget(self) -> None:
        """A new era: what was promised in the old one is void; what running calls hold is not."""
        self.free = 0
        self.refunds.clear()
        self.batch.void = True
        self.batch = Batch()
        self.blocked_until = 0
        self.active = self.held > 0
        if self.bucket.measure.value == "BUDGET":
            self.known, self.seed = False, -1

    def op(self, wish: int | None) -> list[object]:
        """The report and the wish, as `trade.lua` reads them; None wants nothing. What is not kept is given back."""
        bucket = self.bucket
        keep = self.free if wish is not None or (self.active and self.slice() > 1) else 0
        need = wish or 0
        self.free = keep
        backs = [[batch.seq, amount] for batch, amount in self.refunds if batch.seq is not None]
        if not bucket.held:
            return [False, bucket.full, bucket.p, bucket.q, self.id, self.spent, keep, need, self._want(need), backs, 0]
        kept = keep + self.held
        return [True, bucket.capacity, 0, 1, self.id, self.spent, kept, need, self._want(need), [], self.seed]

    def _want(self, need: int) -> int:
        return self.slice() if need else 0

    @property
    def idle(self) -> bool:
        return not (self.free or self.held or self.active or self.refunds)


def take(asks: Sequence[Ask], wallets: Sequence[Wallet], now: int) -> Grant | None:
    """Spend from wallets, if all of them are known to have it. For nearly every call: no step too many."""
    for (bucket, amount), wallet in zip(asks, wallets, strict=True):
        if now >= wallet.expires and not bucket.held:
            wallet.free = 0  # as `has` does
        if wallet.free < amount or not wallet.known:
            return None
    left: list[int] = []
    marks: list[Batch] = []
    for (bucket, amount), wallet in zip(asks, wallets, strict=True):
        wallet.free = free = wallet.free - amount
        wallet.active = True
        if bucket.held:
            wallet.held += amount
        else:
            wallet.spent += amount
        marks.append(wallet.batch)
        left.append(free + wallet.left if wallet.left > 0 else free)
    return Grant(asks, marks, left)


def give_back(wallet: Wallet, batch: Batch, reserved: int, spent: int, now: int) -> None:
    """End one bucket's part of a Grant that was taken from `wallet`."""
    wallet.active = True
    wallet.blocked_until = 0
    if wallet.bucket.held:
        wallet.held -= reserved
        wallet.spent += spent
        wallet.free += reserved - spent
        return
    back = reserved - spent
    if back < 0:
        wallet.refunds.append((DEBT, back))  # more was used than reserved: later callers wait for it
        return
    if batch is wallet.batch:  # not reported yet: it never was spent
        wallet.spent -= back
        if now < wallet.expires:
            wallet.free += back
    elif not batch.void:
        wallet.refunds.append((batch, back))


def end(grant: Grant, wallets: Sequence[Wallet], used: Used | None, now: int) -> bool:
    """Put back what was not used. Whether a slot came free of so few that another member may wait for it."""
    few = False
    for (bucket, reserved), wallet, batch in zip(grant.asks, wallets, grant.marks, strict=True):
        if used is None or bucket.measure is _CONCURRENT:
            spent = 0
        else:
            spent = used.get(bucket.measure, reserved)
        if bucket.held:
            wallet.active = True
            wallet.blocked_until = 0
            wallet.held -= reserved
            wallet.spent += spent
            wallet.free += reserved - spent
            few = few or wallet.slice() < 2
        elif spent != reserved:
            give_back(wallet, batch, reserved, spent, now)
    return few


def blocked(asks: Sequence[Ask], wallets: Sequence[Wallet], now: int) -> bool:
    """Whether a bucket that is short was found empty only just now, so that asking again would be no use."""
    return any(
        now < wallet.blocked_until and not wallet.has(amount, now)
        for (_, amount), wallet in zip(asks, wallets, strict=True)
    )


def refused(asks: Sequence[Ask], wallets: Sequence[Wallet], now: int, *, visited: bool = False) -> Refusal:
    """Say of each bucket that is short what it has and when it will do, from what the last visit saw."""
    short: list[Shortfall] = []
    for (bucket, amount), wallet in zip(asks, wallets, strict=True):
        if wallet.has(amount, now):
            continue
        have = wallet.free + wallet.left
        if amount > bucket.capacity or (bucket.held and bucket.measure.value == "BUDGET"):
            wait = None
        elif bucket.held:
            wait = 1_000_000
        elif bucket.p == 0:
            wait = None
        else:
            missing = (amount - wallet.free) * bucket.q - wallet.units - bucket.p * max(0, now - wallet.seen_at)
            wait = max(1, -(-missing // bucket.p), wallet.blocked_until - now)
            if visited and bucket.capacity >= LARGE:
                # it refills faster than it is worth asking: wait for some more, and say so
                wait = max(wait, BLOCK_US)
            if visited:
                wallet.blocked_until = now + min(wait, BLOCK_US)
        short.append(Shortfall(bucket, amount, min(have, amount - 1), wait))
    return Refusal(short)
