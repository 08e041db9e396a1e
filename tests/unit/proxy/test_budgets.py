"""What a key may spend in a day."""

import asyncio

import msgspec
import pytest

from proxy.budgets import Budgets, Rates, epoch_of, next_epoch, refused
from proxy.limits.memory import MemoryStore
from proxy.limits.reference import Measure
from proxy.limits.store import Grant, Refusal

DAY = 86_400_000_000
NOW = 1_700_000_000_000_000


class Key(msgspec.Struct):
    id: str = "k"
    usd_micro: int | None = None
    diem_micro: int | None = None
    vcu_micro: int | None = None


class Ledger:
    def __init__(self, spent: int = 0) -> None:
        self.spent = spent
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, key_id: str, since_us: int) -> int:
        self.asked.append((key_id, since_us))
        return self.spent


def made(ledger: Ledger) -> Budgets:
    return Budgets(MemoryStore(), ledger)


def test_the_tightest_limit_counts() -> None:
    budgets = made(Ledger())
    assert budgets.capacity(Key()) is None
    assert budgets.capacity(Key(usd_micro=5_000_000, diem_micro=4_000_000)) == 4_000_000
    assert budgets.capacity(Key(usd_micro=5_000_000, vcu_micro=4_000_000)) == 400_000
    assert Budgets(MemoryStore(), Ledger(), Rates(diem=500_000)).capacity(Key(diem_micro=4_000_000)) == 2_000_000
    assert budgets.capacity(Key(usd_micro=0)) == 0


def test_what_was_spent_before_comes_from_the_ledger_once() -> None:
    ledger = Ledger(700_000)
    store = MemoryStore()
    budgets = Budgets(store, ledger)
    key = Key(usd_micro=1_000_000)
    bucket = budgets.bucket(key, NOW)
    assert bucket is not None
    for _ in range(3):
        asyncio.run(budgets.ready(bucket, NOW))
    assert ledger.asked == [("k", epoch_of(NOW))]
    assert budgets.left(key, NOW) == {"usd": 0.3}
    grant = store.reserve_now([(bucket, 200_000)])
    assert isinstance(grant, Grant)
    refusal = store.reserve_now([(bucket, 100_001)])
    assert isinstance(refusal, Refusal)
    error = refused(refusal.short[0], NOW)
    assert error.status == 402
    assert "2023-11-15T00:00:00.000Z" in error.message
    assert error.details is not None
    assert error.details["have_usd"] == 0.1
    store.settle(grant, {Measure.BUDGET: 50_000})
    assert budgets.left(key, NOW) == {"usd": 0.25}


def test_a_new_day_is_a_new_bucket() -> None:
    ledger = Ledger()
    budgets = made(ledger)
    key = Key(usd_micro=1_000_000)
    today, later = budgets.bucket(key, NOW), budgets.bucket(key, NOW + 1)
    assert today is later
    tomorrow = budgets.bucket(key, next_epoch(NOW))
    assert tomorrow is not None
    assert tomorrow.name == "k||BUDGET|2023-11-15"
    asyncio.run(budgets.ready(tomorrow, next_epoch(NOW)))
    assert ledger.asked == [("k", epoch_of(NOW) + DAY)]
    changed = budgets.bucket(Key(usd_micro=2_000_000), next_epoch(NOW))
    assert changed is not None
    assert changed.capacity == 2_000_000


@pytest.mark.parametrize(("micro", "usd"), [(0, "0"), (10_242_400, "10.2424"), (1, "0.000001"), (100_000_000, "100")])
def test_trailing_sums_are_decimal_texts(micro: int, usd: str) -> None:
    assert made(Ledger()).trailing(micro)["usd"] == usd
    assert made(Ledger()).trailing(4_223_100) == {"usd": "4.2231", "diem": "4.2231", "vcu": "42.231"}


def test_what_is_left_in_each_currency() -> None:
    budgets = made(Ledger(500_000))
    key = Key(usd_micro=1_000_000, diem_micro=2_000_000, vcu_micro=50_000_000)
    bucket = budgets.bucket(key, NOW)
    assert bucket is not None
    asyncio.run(budgets.ready(bucket, NOW))
    assert budgets.left(key, NOW) == {"usd": 0.5, "diem": 1.5, "vcu": 45.0}
    assert budgets.left(Key(id="free"), NOW) == {}
