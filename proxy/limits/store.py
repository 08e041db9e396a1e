"""The seam of the limits: what a store takes and gives. Data and a Protocol; no store, no clock, no arithmetic but divisions.

One call asks for all its buckets at once and gets all or nothing. A Grant is settled once: exactly what was used stays
taken. Whoever dies with a Grant keeps the requests and tokens spent (they may have been sent); slots and budgets come back.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from proxy.limits.reference import Bucket, Measure

if TYPE_CHECKING:
    from proxy.limits.quota import Quota

Ask = tuple[Bucket, int]
CONCURRENT_WAIT_US = 1_000_000  # nobody knows when a slot comes free: what a refused caller is told to wait


class Shortfall:
    """One bucket that did not hold enough: amounts in its unit; `have` is below nothing where there
    is a debt. `wait_us` is None if waiting cannot help."""

    __slots__ = ("bucket", "have", "need", "wait_us")

    def __init__(self, bucket: Bucket, need: int, have: int, wait_us: int | None) -> None:
        self.bucket = bucket
        self.need = need
        self.have = have
        self.wait_us = wait_us


class Refusal:
    """Nothing was reserved. `unreachable` says that the store, not a limit, is the reason.

    `wait_us` is when the same call passes, if nobody takes anything in between; None is never.
    """

    __slots__ = ("short", "unreachable")

    def __init__(self, short: Sequence[Shortfall], *, unreachable: bool = False) -> None:
        self.short = tuple(short)
        self.unreachable = unreachable

    @property
    def wait_us(self) -> int | None:
        waits = [item.wait_us for item in self.short]
        known = [wait for wait in waits if wait is not None]
        return max(known, default=CONCURRENT_WAIT_US) if len(known) == len(waits) else None

    @property
    def worst(self) -> Shortfall | None:
        """The shortfall that decides: the one to wait longest for."""
        never = [item for item in self.short if item.wait_us is None]
        return never[0] if never else max(self.short, key=lambda item: item.wait_us or 0, default=None)


class Grant(msgspec.Struct, eq=False, gc=False):
    """What one call holds. `left` is what each bucket had after it, in its unit. `marks` and `states` belong to the store: with
    `states`, `asks` is only what was asked for beside a quota and its `tokens`."""

    asks: Sequence[Ask]
    marks: Any
    left: list[int]
    states: Any = None
    tokens: int | None = None
    open: bool = True

    def remaining(self, measure: Measure) -> tuple[int, int, int] | None:
        """(limit, what is left, µs until it is full again) of the tightest bucket of this measure, for headers."""
        found: tuple[int, int, int] | None = None
        for (bucket, _), left in zip(self.asks, self.left, strict=True):
            if bucket.measure is measure and (found is None or left < found[1]):
                missing = (bucket.capacity - left) * bucket.q
                found = (bucket.capacity, max(left, 0), -(-missing // bucket.p) if bucket.p else 0)
        return found


Used = Mapping[Measure, int]


def final(bucket: Bucket, reserved: int, used: Used | None) -> int:
    """What of a reservation stays spent: what `used` says, nothing of a cancelled call (`used` is None) or of a slot,
    and all of it where nobody said."""
    if used is None or bucket.measure is Measure.CONCURRENT:
        return 0
    return used.get(bucket.measure, reserved)


class LimitStore(Protocol):
    """Where buckets are kept. `reserve_now` never waits; None means that only `reserve` can tell."""

    def quick(self, quota: "Quota", tokens: int | None, purse: Ask | None) -> Grant | None:
        """All that a call of this quota asks for, in one look; `left` of the Grant is of the rates only. None says nothing: ask
        `reserve_now`."""
        ...

    def reserve_now(self, asks: Sequence[Ask]) -> Grant | Refusal | None: ...

    async def reserve(self, asks: Sequence[Ask]) -> Grant | Refusal: ...

    def settle(self, grant: Grant, used: Used) -> None:
        """The call ran: replace what was reserved by what was used. A second time changes nothing."""
        ...

    def cancel(self, grant: Grant) -> None:
        """Nothing was served: everything goes back (as far as it fits). A second time changes nothing."""
        ...

    def peek(self, bucket: Bucket) -> int:
        """What the bucket has left now, in its unit, as well as this process knows."""
        ...

    def seed(self, bucket: Bucket, spent: int) -> None:
        """A budget that the store does not know yet starts with this much spent, from the ledger; until then it is
        refused as unreachable."""
        ...

    def seeded(self, bucket: Bucket) -> bool:
        """Whether a budget is known, so that `seed` would change nothing."""
        ...

    async def start(self) -> None: ...

    async def aclose(self) -> None: ...
