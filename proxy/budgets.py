"""What a key may spend in a day (UTC): its limits in usd, diem and vcu as one held bucket in micro-USD, the tightest.

A call reserves the most that it can cost, together with its rate limits, and settles what it did cost; it knows prices
only as sums. What was spent today before this store existed comes from the ledger, once, by `ready`.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from proxy.config import Limits
from proxy.errors import BudgetSpent
from proxy.ledger.row import timestamp
from proxy.limits.reference import DAY_US, Bucket, Measure
from proxy.limits.store import LimitStore, Shortfall

CURRENCY = ""  # budgets belong to a key, whatever the model
Spent = Callable[[str, int], Awaitable[int]]


class HasLimits(Protocol):
    """A key's row, as far as it matters here."""

    @property
    def id(self) -> str: ...
    @property
    def usd_micro(self) -> int | None: ...
    @property
    def diem_micro(self) -> int | None: ...
    @property
    def vcu_micro(self) -> int | None: ...


class Rates(msgspec.Struct, frozen=True):
    """What one unit is worth, in micro-USD: a Diem is a dollar a day, a VCU (deprecated) a tenth of it."""

    diem: int = 1_000_000
    vcu: int = 100_000

    def shown(self, micro_usd: int) -> dict[str, str]:
        """A sum in each currency, as decimal texts without an exponent."""
        worth = {"usd": 1_000_000, "diem": self.diem, "vcu": self.vcu}
        return {name: f"{micro_usd / unit:.6f}".rstrip("0").rstrip(".") for name, unit in worth.items()}


def rates_of(limits: Limits) -> Rates:
    return Rates(diem=round(limits.diem_usd * 1_000_000), vcu=round(limits.vcu_usd * 1_000_000))


def epoch_of(now_us: int) -> int:
    """When the day began, µs."""
    return now_us - now_us % DAY_US


def next_epoch(now_us: int) -> int:
    return epoch_of(now_us) + DAY_US


class Budgets:
    """`spent(key_id, since_us)` asks the ledger for micro-USD. One for each worker, over the worker's limit store."""

    def __init__(self, store: LimitStore, spent: Spent, rates: Rates = Rates()) -> None:  # noqa: B008  (immutable)
        self._store = store
        self._spent = spent
        self._rates = rates
        self._buckets: dict[str, tuple[int, Bucket]] = {}

    def capacity(self, key: HasLimits) -> int | None:
        """The tightest of a key's limits in micro-USD a day; None if it has none."""
        limits = [] if key.usd_micro is None else [key.usd_micro]
        if key.diem_micro is not None:
            limits.append(key.diem_micro * self._rates.diem // 1_000_000)
        if key.vcu_micro is not None:
            limits.append(key.vcu_micro * self._rates.vcu // 1_000_000)
        return min(limits, default=None)

    def bucket(self, key: HasLimits, now_us: int) -> Bucket | None:
        """Today's bucket of this key; None if it may spend what it likes."""
        capacity = self.capacity(key)
        if capacity is None:
            return None
        day = epoch_of(now_us)
        found = self._buckets.get(key.id)
        if found is None or found[0] != day or found[1].capacity != capacity:
            if len(self._buckets) > 20_000:
                self._buckets = {name: item for name, item in self._buckets.items() if item[0] == day}
            name = timestamp(day)[:10]
            found = (day, Bucket(key.id, CURRENCY, Measure.BUDGET, capacity, epoch=name))
            self._buckets[key.id] = found
        return found[1]

    async def ready(self, bucket: Bucket, now_us: int) -> None:
        """Make sure that the store knows what was spent today. Before the first call of a key and a day: a question to
        the ledger; after it, nothing. Raises database errors."""
        if not self._store.seeded(bucket):
            self._store.seed(bucket, await self._spent(bucket.owner, epoch_of(now_us)))

    def left(self, key: HasLimits, now_us: int) -> dict[str, float]:
        """What is left today in each currency, for balances and headers; only currencies that have a limit."""
        bucket = self.bucket(key, now_us)
        if bucket is None:
            return {}
        used = bucket.capacity - self._store.peek(bucket)
        left: dict[str, float] = {}
        if key.usd_micro is not None:
            left["usd"] = max(0, key.usd_micro - used) / 1e6
        if key.diem_micro is not None:
            left["diem"] = max(0.0, key.diem_micro / 1e6 - used / self._rates.diem)
        if key.vcu_micro is not None:
            left["vcu"] = max(0.0, key.vcu_micro / 1e6 - used / self._rates.vcu)
        return left

    def trailing(self, micro_usd: int) -> dict[str, str]:
        """See `Rates.shown`."""
        return self._rates.shown(micro_usd)


def refused(short: Shortfall, now_us: int) -> BudgetSpent:
    """The 402 for a call whose worst case does not fit."""
    need, have = short.need / 1e6, max(0, short.have) / 1e6
    again = next_epoch(now_us)
    return BudgetSpent(
        f"This call can cost up to ${need:.6f}; the key's limit leaves ${have:.6f} until {timestamp(again)}.",
        details={"need_usd": need, "have_usd": have, "next_epoch": timestamp(again)},
    )
