"""The buckets of one process: what the common suite (tests/contract/test_limits.py) does not ask."""

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.limits import memory
from proxy.limits.memory import MemoryStore
from proxy.limits.quota import Quota
from proxy.limits.reference import DAY_US, Bucket, Level, Measure, debit, fresh, refill, settle, wait_us
from proxy.limits.store import Ask, Grant, Refusal, Used, final


def test_what_says_nothing_is_dropped_where_there_are_many() -> None:
    now = [0]
    store = MemoryStore(lambda: now[0])
    store._sweep_at = 11
    slots = Bucket("k", "m", Measure.CONCURRENT, 2)
    running = store.reserve_now([(slots, 1)])
    assert isinstance(running, Grant)
    old = [store.reserve_now([(Bucket(f"k{n}", "m", Measure.TPM, 10), 10)]) for n in range(10)]
    now[0] = 3 * DAY_US
    store.reserve_now([(Bucket("new", "m", Measure.TPM, 10), 1)])
    assert list(store._rates) == ["new|m|TPM"]
    assert store.peek(slots) == 1  # a call that runs is not forgotten
    # a call that ran all the while gives back into a bucket that was full anyway
    assert isinstance(old[0], Grant)
    store.settle(old[0], {Measure.TPM: 3})
    assert store.peek(old[0].asks[0][0]) == 10
    assert store._sweep_at >= memory.SWEEP_AT


def test_a_budget_is_kept_for_two_days_and_a_debt_until_it_is_paid() -> None:
    now = [0]
    store = MemoryStore(lambda: now[0])
    purse, bucket = Bucket("k", "", Measure.BUDGET, 10, epoch="2026-11-21"), Bucket("k", "m", Measure.TPM, 10)
    store.seed(purse, 0)
    grant = store.reserve_now([(bucket, 10)])
    assert isinstance(grant, Grant)
    store.settle(grant, {Measure.TPM: 40})
    for at, kept, paid in ((DAY_US // 2880, True, False), (DAY_US, True, True), (3 * DAY_US, False, True)):
        now[0] = at
        store._sweep_at = 0
        store._sweep(at)
        assert store.seeded(purse) is kept
        assert (bucket.name not in store._rates) is paid


def test_a_debt_is_kept_by_a_bucket_that_was_dropped() -> None:
    now = [0]
    store = MemoryStore(lambda: now[0])
    bucket = Bucket("k", "m", Measure.TPM, 10)
    grant = store.reserve_now([(bucket, 1)])
    assert isinstance(grant, Grant)
    store._rates.clear()
    store.settle(grant, {Measure.TPM: 21})
    assert isinstance(store.reserve_now([(bucket, 1)]), Refusal)
    assert store.peek(bucket) == -10


class Plain:
    """The slow twin: the same store in the words of `reference`, one function after the other."""

    def __init__(self) -> None:
        self.levels: dict[str, tuple[Bucket, Level]] = {}
        self.held: dict[str, int] = {}
        self.seq = 0

    def level(self, bucket: Bucket, now: int) -> Level:
        _, level = self.levels.get(bucket.name) or (bucket, fresh(bucket, now))
        if not level.tide:  # nobody took anything yet
            level = fresh(bucket, now)
        self.levels[bucket.name] = (bucket, level)
        refill(bucket, level, now)
        return level

    def reserve(self, asks: list[Ask], now: int) -> tuple[int, list[int]] | None:
        """The number of this call's debits, and what is left; None where something is short."""
        for bucket, amount in asks:
            if bucket.held:
                if self.held.get(bucket.name, 0) + amount > bucket.capacity:
                    return None
            elif wait_us(bucket, self.level(bucket, now), amount) != 0:
                return None
        left = []
        self.seq = max(self.seq + 1, now)
        for bucket, amount in asks:
            if bucket.held:
                self.held[bucket.name] = self.held.get(bucket.name, 0) + amount
                left.append(bucket.capacity - self.held[bucket.name])
            else:
                level = self.level(bucket, now)
                level.seq = self.seq - 1
                assert debit(bucket, level, amount, now) == self.seq
                left.append(level.level // bucket.q)
        return self.seq, left

    def end(self, asks: list[Ask], seq: int, used: Used | None, now: int) -> None:
        for bucket, reserved in asks:
            spent = final(bucket, reserved, used)
            if bucket.held:
                self.held[bucket.name] -= reserved - spent
            elif spent != reserved:
                bucket, level = self.levels[bucket.name]
                if spent > reserved:
                    level.seq = self.seq
                settle(bucket, level, seq, reserved, spent, now)
                self.seq = max(self.seq, level.seq)


PURSE = Bucket("k", "", Measure.BUDGET, 5000, epoch="2026-11-21")


def shape(capacity: int) -> Quota:
    return Quota(
        [
            Bucket("k", "m", Measure.RPM, capacity),
            Bucket("k", "m", Measure.TPM, 50 * capacity),
            Bucket("k", "m", Measure.CONCURRENT, 4),
            Bucket("k", "m", Measure.RPD, 3 * capacity),
        ]
    )


def granted(store: MemoryStore, quota: Quota, tokens: int | None, purse: Ask | None) -> Grant | Refusal:
    """As the gate asks."""
    return store.quick(quota, tokens, purse) or store.reserve_now(quota.asks(tokens, purse))


STEPS = st.tuples(st.sampled_from("rrrrrgescpb"), st.integers(0, 1000), st.integers(0, 1000), st.booleans())


@settings(max_examples=300, deadline=None)
@given(data=st.data(), capacity=st.sampled_from([1, 3, 60, 1000, 1_000_000, 10_000_019]))
def test_what_is_prepared_does_what_the_reference_does(data: st.DataObject, capacity: int) -> None:
    """Decisions, what is left, and the whole state behind them, call by call, in one look or bucket by bucket; now and then
    under another configuration, and under the first one again."""
    now = [1_700_000_000_000_000]
    store, plain = MemoryStore(lambda: now[0]), Plain()
    store.seed(PURSE, 0)
    shapes = [shape(capacity), shape(max(1, capacity // 3)), shape(2 * capacity)]
    quota = shapes[0]
    quick = 0
    running: list[tuple[Grant, list[Ask], int]] = []
    for what, number, percent, more in data.draw(st.lists(STEPS, min_size=10, max_size=80)):
        if what == "p":
            now[0] += [number, number * 1000, number * 100_000][percent % 3]
        elif what == "c":
            quota = shapes[percent % 3]
        elif what in "rg":
            tokens = number * capacity // 18 if percent > 300 else number % 40 if percent > 100 else None
            purse = (PURSE, number) if more else None
            asks = quota.asks(tokens, purse)
            found = granted(store, quota, tokens, purse) if what == "r" else store.reserve_now(asks)
            expected = plain.reserve(asks, now[0])
            assert isinstance(found, Grant) is (expected is not None)
            if isinstance(found, Grant) and expected is not None:
                quick += found.states is not None
                assert found.marks == expected[0]
                rates = sum(not bucket.held for bucket, _ in asks)
                assert found.left[:rates] == expected[1][:rates]
                running.append((found, asks, expected[0]))
        elif running:
            grant, asks, seq = running.pop(percent % len(running))
            reserved = {bucket.measure: amount for bucket, amount in asks}
            used = {
                Measure.TPM: reserved.get(Measure.TPM, 0) * percent // 500,
                Measure.BUDGET: min(number, reserved.get(Measure.BUDGET, 0)),
            }
            ending = None if what == "s" else {} if what == "b" else used
            store.settle(grant, ending)
            store.cancel(grant)
            plain.end(asks, seq, ending, now[0])
        for bucket in quota.buckets:
            if bucket.held or bucket.name not in plain.levels:
                continue
            mine, level = store._rate(bucket, now[0]).level(now[0]), plain.level(bucket, now[0])
            assert (mine.level, mine.at, mine.q, mine.seq, mine.tide) == (
                level.level, level.at, level.q, level.seq, level.tide
            )  # fmt: skip
        for name, held in store._held.items():
            assert held.used + held.held == plain.held.get(name, 0)


@settings(max_examples=100, deadline=None)
@given(steps=st.lists(STEPS, min_size=10, max_size=60), capacity=st.sampled_from([3, 1000, 1_000_000]))
def test_what_is_dropped_is_not_missed(steps: list[tuple[str, int, int, bool]], capacity: int) -> None:
    """One store forgets what it may at every step, the other nothing."""
    now = [1_700_000_000_000_000]
    stores = [MemoryStore(lambda: now[0]) for _ in range(2)]
    quotas = [shape(capacity) for _ in stores]
    running: list[list[Grant | Refusal]] = []
    for what, number, percent, _ in steps:
        stores[0]._sweep_at = 0
        stores[0]._sweep(now[0])
        if what in "pc":
            now[0] += number * percent * 300
        elif what in "rg":
            tokens = number * capacity // 18
            found = [granted(store, quota, tokens, None) for store, quota in zip(stores, quotas, strict=True)]
            assert type(found[0]) is type(found[1])
            if isinstance(found[0], Grant):
                running.append(found)
        elif running:
            ended = running.pop(percent % len(running))
            for store, grant in zip(stores, ended, strict=True):
                assert isinstance(grant, Grant)
                store.settle(grant, {Measure.TPM: number * percent // 500})
        for bucket in quotas[0].buckets:
            assert stores[0].peek(bucket) == stores[1].peek(bucket)


def test_nearly_every_call_of_a_bucket_that_is_far_from_its_limit_is_quick() -> None:
    now = [1_700_000_000_000_000]
    store, quota = MemoryStore(lambda: now[0]), shape(1_000_000)
    quick = 0
    for number in range(1000):
        grant = granted(store, quota, 4123, None)
        assert isinstance(grant, Grant)
        quick += grant.states is not None
        now[0] += 40 * (number % 5)
        store.settle(grant, {Measure.TPM: 50})
    assert quick > 990
