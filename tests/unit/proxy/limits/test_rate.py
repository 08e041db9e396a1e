"""A bucket's state, and the Level that it stands for."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.limits.rate import Rate
from proxy.limits.reference import BANDS, Bucket, Measure, debit, refill

NOW = 1_700_000_000_000_000
SIXTY = Bucket("k", "m", Measure.RPM, 60)


def test_it_begins_full_and_its_first_mark_is_still_to_be_made() -> None:
    rate = Rate(SIXTY)
    level = rate.level(NOW)
    assert (level.level, level.at, level.seq, level.tide) == (SIXTY.full, NOW, 0, [])
    assert not any(rate.floor <= missing < rate.brink for missing in (0, 1, SIXTY.q, SIXTY.full))


@given(taken=st.lists(st.tuples(st.integers(0, 20), st.integers(0, 5_000_000)), max_size=30))
def test_a_level_and_back_and_time_goes_by_alike(taken: list[tuple[int, int]]) -> None:
    now, rate = NOW, Rate(SIXTY)
    for amount, us in taken:
        level = rate.level(now)
        debit(SIXTY, level, amount, now)
        rate.keep(level, now)
        now += us
        refill(SIXTY, level, now)
        back = rate.level(now)
        assert (back.level, back.at, back.q, back.seq, back.tide) == (level.level, now, level.q, level.seq, level.tide)
        missing = SIXTY.full - level.level
        if rate.floor <= missing < rate.brink:  # then another one leaves no new mark
            before = [mark[1] for mark in level.tide]
            debit(SIXTY, level, 1, now)
            assert [mark[1] for mark in level.tide] == before
            assert level.tide[-1][0] == level.seq
            level = rate.level(now)


def test_what_is_quick_ends_with_the_band() -> None:
    rate = Rate(SIXTY)
    level = rate.level(NOW)
    debit(SIXTY, level, 1, NOW)
    rate.keep(level, NOW)
    assert (rate.floor, rate.brink) == (0, SIXTY.full // BANDS)
    debit(SIXTY, level, 30, NOW + 1)
    debit(SIXTY, level, 1, NOW + 2)
    rate.keep(level, NOW + 2)
    assert rate.floor == 31_000_000 + 1, "below it the mark before would be met"
    assert rate.brink == 31_000_000 + SIXTY.full // BANDS
    assert rate.cost == SIXTY.q


def test_another_capacity_of_what_nobody_took_from_is_full() -> None:
    rate = Rate(SIXTY)
    assert rate.bind(larger := Bucket("k", "m", Measure.RPM, 120), NOW)
    assert (rate.bucket, rate.level(NOW).level) == (larger, larger.full)


def test_another_capacity_counts_in_its_own_units() -> None:
    rate = Rate(SIXTY)
    level = rate.level(NOW)
    debit(SIXTY, level, 30, NOW)
    rate.keep(level, NOW)
    assert not rate.bind(Bucket("k", "m", Measure.RPM, 60), NOW), "the same figures"
    assert rate.bind(smaller := Bucket("k", "m", Measure.RPM, 7), NOW)
    assert (rate.bucket, rate.level(NOW).level) == (smaller, smaller.full)
