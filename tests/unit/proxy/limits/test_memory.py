"""The buckets of one process: what the common suite (tests/contract/test_limits.py) does not ask."""

from proxy.limits import memory
from proxy.limits.memory import MemoryStore
from proxy.limits.reference import DAY_US, Bucket, Measure
from proxy.limits.store import Grant, Refusal


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
