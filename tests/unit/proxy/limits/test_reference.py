"""The arithmetic of buckets."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.limits.reference import (
    BANDS,
    DAY_US,
    DEBT_MAX,
    FULL_MAX,
    MINUTE_US,
    Bucket,
    Level,
    Measure,
    debit,
    fresh,
    refill,
    refund,
    settle,
    share,
    wait_us,
)

CAPACITIES = st.one_of(st.integers(1, 100), st.integers(1, 10**9))


def tokens(capacity: int, period_us: int = MINUTE_US) -> Bucket:
    return Bucket("key", "model", Measure.TPM, capacity, period_us=period_us)


@given(CAPACITIES, st.sampled_from([MINUTE_US, DAY_US, 1_000_003]))
def test_a_rate_is_never_faster_than_it_says_and_hardly_slower(capacity: int, period_us: int) -> None:
    bucket = tokens(capacity, period_us)
    wanted = Fraction(capacity, period_us)
    assert Fraction(bucket.p, bucket.q) <= wanted
    assert Fraction(bucket.p, bucket.q) >= wanted * Fraction(9999, 10000)
    assert bucket.full <= FULL_MAX


@given(CAPACITIES, st.integers(1, 10**9), st.integers(0, 10**10))
def test_waiting_is_exact_to_the_microsecond(capacity: int, amount: int, elapsed: int) -> None:
    bucket = tokens(capacity)
    state = fresh(bucket, 0)
    debit(bucket, state, capacity, 0)
    refill(bucket, state, elapsed)
    wait = wait_us(bucket, state, amount)
    if amount > capacity:
        assert wait is None
        return
    assert wait is not None
    if wait > 0:
        refill(bucket, state, elapsed + wait - 1)
        assert wait_us(bucket, state, amount) == 1
    refill(bucket, state, elapsed + wait)
    assert wait_us(bucket, state, amount) == 0


def test_a_clock_that_goes_back_gives_nothing() -> None:
    bucket = tokens(60)
    state = fresh(bucket, 1000)
    debit(bucket, state, 60, 1000)
    refill(bucket, state, 0)
    assert state.level == 0
    refill(bucket, state, 1000 + 1_000_000)
    assert state.level == bucket.q


def test_the_tide_stays_short() -> None:
    bucket = tokens(1000)
    state = fresh(bucket, 0)
    marks = []
    for step in range(900):
        refill(bucket, state, step * 997)
        marks.append(debit(bucket, state, 1, step * 997))
        if step % 7 == 0:
            refund(bucket, state, marks[step // 2], 1)
        assert len(state.tide) <= BANDS + 1
        peaks = [peak for _, peak in state.tide]
        assert peaks == sorted(peaks, reverse=True)


def test_debits_are_numbered_no_earlier_than_the_clock() -> None:
    bucket = tokens(10)
    state = fresh(bucket, 5)
    assert debit(bucket, state, 1, 5) == 5
    assert debit(bucket, state, 1, 5) == 6
    assert debit(bucket, state, 1, 100) == 100


def test_a_debt_has_a_bottom() -> None:
    bucket = tokens(10)
    state = fresh(bucket, 0)
    mark = debit(bucket, state, 1, 0)
    settle(bucket, state, mark, 1, 10**12, 0)
    assert state.level == -DEBT_MAX


def test_another_capacity_after_a_reload_keeps_the_tokens_not_the_units() -> None:
    old, new = tokens(100), tokens(7)
    state = fresh(old, 0)
    debit(old, state, 96, 0)
    refill(new, state, 0)
    assert state.level == 4 * new.q
    refill(old, state, 0)
    assert state.level // old.q == 4


def test_n_shares_are_the_whole() -> None:
    bucket = tokens(10)
    part = share(bucket, 4)
    assert Fraction(part.p, part.q) * 4 == Fraction(bucket.p, bucket.q)
    assert Fraction(part.full, part.q) * 4 == bucket.capacity
    state = Level(0, 0, part.q)
    refill(part, state, MINUTE_US)
    assert wait_us(part, state, 2) == 0
    assert wait_us(part, state, 3) is None


def test_a_limit_of_nothing_and_one_that_cannot_be() -> None:
    nothing = tokens(0)
    state = fresh(nothing, 0)
    assert wait_us(nothing, state, 1) is None
    with pytest.raises(ValueError, match="negative"):
        tokens(-1)
    with pytest.raises(ValueError, match="exactly"):
        Bucket("key", "", Measure.BUDGET, FULL_MAX + 1)


def test_slots_and_budgets_do_not_refill() -> None:
    assert Bucket("key", "m", Measure.CONCURRENT, 4).held
    assert Bucket("key", "", Measure.BUDGET, 4, epoch="2026-11-21").name == "key||BUDGET|2026-11-21"
    assert not Bucket("key", "m", Measure.RPM, 4).held
