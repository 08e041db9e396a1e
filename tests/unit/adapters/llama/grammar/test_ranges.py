"""Number intervals are exact: everything inside is written, nothing outside."""

import random
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.llama.grammar import ranges
from fakes.gbnf import Grammar


def _grammar(expr: str | None) -> Grammar:
    assert expr is not None
    return Grammar(f"root ::= {expr}\n")


@given(st.integers(-1200, 1200), st.integers(0, 1500))
@settings(max_examples=60, deadline=None)
def test_integers_both_bounds(low: int, size: int) -> None:
    high = low + size
    grammar = _grammar(ranges.integers(low, high))
    near = {low - 1, low, low + 1, high - 1, high, high + 1, 0, 9, 10, 99, 100, 999, 1000, -9, -10, -99, -100, -999}
    for value in near:
        assert grammar.accepts(str(value)) == (low <= value <= high), value
    for text in ("", "-", "-0", "00", "01", "+1", "1.0", "1e0"):
        assert not grammar.accepts(text)


@given(st.integers(-(10**6), 10**6), st.booleans(), st.lists(st.integers(-(10**7), 10**7), max_size=20))
@settings(max_examples=60, deadline=None)
def test_integers_one_bound(bound: int, lower: bool, values: list[int]) -> None:
    grammar = _grammar(ranges.integers(bound, None) if lower else ranges.integers(None, bound))
    for value in [*values, bound - 1, bound, bound + 1, 0]:
        assert grammar.accepts(str(value)) == (value >= bound if lower else value <= bound), value


def test_integers_huge_and_none() -> None:
    assert ranges.integers(3, 2) is None
    huge = 10**25
    assert _grammar(ranges.integers(huge, None)).accepts(str(huge))
    assert _grammar(ranges.integers(None, -huge)).accepts(str(-huge))
    free = _grammar(ranges.integers(None, None))
    assert free.accepts("-123456789012345678")
    assert not free.accepts("1234567890123456789")


_DECIMALS = st.decimals(-200, 200, places=2, allow_nan=False)


@given(_DECIMALS, _DECIMALS, st.booleans(), st.booleans(), st.lists(_DECIMALS, max_size=20), st.integers(0, 2**32))
@settings(max_examples=80, deadline=None)
def test_decimals(a: Decimal, b: Decimal, low_out: bool, high_out: bool, values: list[Decimal], seed: int) -> None:
    low, high = sorted((a, b))
    expr = ranges.decimals((low, low_out), (high, high_out))

    def inside(value: Decimal) -> bool:
        return (value > low if low_out else value >= low) and (value < high if high_out else value <= high)

    if expr is None:
        assert not any(inside(value) for value in (low, high, (low + high) / 2))
        return
    grammar = _grammar(expr)
    step = Decimal("0.001")
    for value in [*values, low, high, low + step, low - step, high + step, high - step, Decimal(0), (low + high) / 2]:
        text = format(value, "f")
        if value == 0:
            text = "0"
        assert grammar.accepts(text) == inside(value), (text, low, high)
    rng = random.Random(seed)
    for _ in range(20):
        text = grammar.sample(rng, 40)
        assert inside(Decimal(text)), text
        value = float(text)  # also after rounding to a double
        assert value > float(low) if low_out else value >= float(low), text
        assert value < float(high) if high_out else value <= float(high), text


def test_decimals_one_bound_and_limits() -> None:
    positive = _grammar(ranges.decimals((Decimal(0), True), None))
    assert positive.accepts("0.000001")
    assert positive.accepts("999999999")
    assert not positive.accepts("0")
    assert not positive.accepts("0.0")
    assert not positive.accepts("-1")
    assert _grammar(ranges.decimals(None, (Decimal("-2.5"), False))).accepts("-2.5")
    assert ranges.decimals((Decimal(1), True), (Decimal(1), False)) is None
    with pytest.raises(ValueError, match="significant digits"):
        ranges.decimals((Decimal("0.1234567890123456"), False), (Decimal(10), False))


def test_free_numbers_are_finite() -> None:
    rng = random.Random(5)
    grammar = _grammar(ranges.FREE_NUMBER)
    for _ in range(300):
        value = float(grammar.sample(rng))
        assert value == value
        assert abs(value) < 1e300
    assert grammar.accepts("-1.5e-7")
    assert not grammar.accepts("1e1000")
    assert not grammar.accepts("01")
