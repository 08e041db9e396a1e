"""The buckets of one process: what the common suite (tests/contract/test_limits.py) does not ask."""

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.limits import memory
from proxy.limits.memory import MemoryStore
from proxy.limits.reference import DAY_US, Bucket, Level, Measure, debit, fresh, refill, settle, wait_us
from proxy.limits.store import Grant, Refusal, final


def test_what_nobody_asked_for_in_two_days_is_dropped() -> None:
    now = [0]
    store = MemoryStore(lambda: now[0])
    store._sweep_at = 10
    slots = Bucket("k", "m", Measure.CONCURRENT, 2)
    running = store.reserve_now([(slots, 1)])
    assert isinstance(running, Grant)
    old = [store.reserve_now([(Bucket(f"k{n}", "m", Measure.TPM, 10), 10)]) for n in range(10)]
    now[0] = 3 * DAY_US
    store.reserve_now([(Bucket("new", "m", Measure.TPM, 10), 1)])
    assert len(store._levels) == 1
    assert store.peek(slots) == 1  # a call that runs is not forgotten
    # a call that ran all the while gives back into a bucket that was full anyway
    assert isinstance(old[0], Grant)
    store.settle(old[0], {Measure.TPM: 3})
    assert store.peek(old[0].asks[0][0]) == 10
    assert store._sweep_at >= memory.SWEEP_AT


def test_a_debt_is_kept_by_a_bucket_that_was_dropped() -> None:
    now = [0]
    store = MemoryStore(lambda: now[0])
    bucket = Bucket("k", "m", Measure.TPM, 10)
    grant = store.reserve_now([(bucket, 1)])
    assert isinstance(grant, Grant)
    store._levels.clear()
    store.settle(grant, {Measure.TPM: 21})
    assert isinstance(store.reserve_now([(bucket, 1)]), Refusal)
    assert store.peek(bucket) == -10


class Plain:
    """The slow twin: the same store in the words of `reference`, one function after the other."""

    def __init__(self) -> None:
        self.levels: dict[str, Level] = {}
        self.held: dict[str, int] = {}

    def reserve(self, asks: list[tuple[Bucket, int]], now: int) -> tuple[list[int], list[int]] | None:
        """Marks, and what is left; None where something is short."""
        for bucket, amount in asks:
            if bucket.held:
                if self.held.get(bucket.name, 0) + amount > bucket.capacity:
                    return None
                continue
            level = self.levels.setdefault(bucket.name, fresh(bucket, now))
            refill(bucket, level, now)
            if wait_us(bucket, level, amount) != 0:
                return None
        marks, left = [], []
        for bucket, amount in asks:
            if bucket.held:
                self.held[bucket.name] = self.held.get(bucket.name, 0) + amount
                marks.append(0)
                left.append(bucket.capacity - self.held[bucket.name])
            else:
                level = self.levels[bucket.name]
                marks.append(debit(bucket, level, amount, now))
                left.append(level.level // bucket.q)
        return marks, left

    def end(self, asks: list[tuple[Bucket, int]], marks: list[int], tokens: int | None, now: int) -> None:
        for (bucket, reserved), mark in zip(asks, marks, strict=True):
            spent = final(bucket, reserved, None if tokens is None else {Measure.TPM: tokens})
            if bucket.held:
                self.held[bucket.name] -= reserved
            elif spent != reserved:
                settle(bucket, self.levels[bucket.name], mark, reserved, spent, now)


@settings(max_examples=150, deadline=None)
@given(data=st.data(), capacity=st.sampled_from([1, 3, 60, 1000, 1_000_000, 10_000_019]))
def test_what_is_written_out_for_speed_does_what_the_reference_does(data: st.DataObject, capacity: int) -> None:
    """Decisions, what is left, and the whole state behind them, call by call; now and then with another capacity."""
    now = [1_700_000_000_000_000]
    store, plain = MemoryStore(lambda: now[0]), Plain()
    shape = [
        Bucket("k", "m", Measure.RPM, capacity),
        Bucket("k", "m", Measure.RPD, 3 * capacity),
        Bucket("k", "m", Measure.CONCURRENT, 4),
        Bucket("k", "m", Measure.TPM, 50 * capacity),
    ]
    steps = st.tuples(st.sampled_from("rrrrescp"), st.integers(0, 60 * capacity), st.integers(0, 1000))
    running: list[tuple[Grant, list[tuple[Bucket, int]], list[int]]] = []
    for what, number, percent in data.draw(st.lists(steps, min_size=10, max_size=60)):
        if what == "p":
            now[0] += number * (percent % 3)
        elif what == "c":
            shape[percent % 2] = Bucket("k", "m", shape[percent % 2].measure, max(1, capacity + percent - 500))
        elif what == "r":
            asks = [(shape[0], 1), (shape[1], 1), (shape[2], 1), (shape[3], number)]
            found, expected = store.reserve_now(asks), plain.reserve(asks, now[0])
            assert isinstance(found, Grant) is (expected is not None)
            if isinstance(found, Grant) and expected is not None:
                assert (found.marks, found.left) == expected
                running.append((found, asks, expected[0]))
        elif running:
            grant, asks, marks = running.pop(percent % len(running))
            tokens = None if what == "e" else asks[3][1] * percent // 500
            store.cancel(grant) if tokens is None else store.settle(grant, {Measure.TPM: tokens})
            plain.end(asks, marks, tokens, now[0])
        for name, level in plain.levels.items():
            mine = store._levels[name]
            mine_bucket = next(bucket for bucket in shape if bucket.name == name)
            refill(mine_bucket, mine, now[0])  # who refuses may look at all buckets, or only at the first that is short
            refill(mine_bucket, level, now[0])
            assert (mine.level, mine.at, mine.q, mine.seq, mine.tide) == (
                level.level, level.at, level.q, level.seq, level.tide
            )  # fmt: skip
        assert all(held.held == plain.held.get(name, 0) for name, held in store._held.items())
