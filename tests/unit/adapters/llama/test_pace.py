"""Prompt tokens beside running streams."""

import random

import pytest

from adapters.llama.pace import FLOOR, Pace


def _drive(pace: Pace, decode_s: float, fixed: float, per_token: float, steps: int = 80) -> list[float]:
    """Steps as the scheduler takes them, with a little noise; how long each mixed one was, over a decode-only one."""
    rng = random.Random(1)
    ratios = []
    pace.observe(0, 500, 500 * per_token)
    for _ in range(steps):
        noise = rng.uniform(0.95, 1.05)
        pace.observe(8, 0, decode_s * noise)
        tokens = pace.chunk(8)
        seconds = (decode_s + fixed + tokens * per_token) * noise
        pace.observe(8, tokens, seconds)
        ratios.append(seconds / decode_s)
    return ratios


@pytest.mark.parametrize("decode_s", [0.006, 0.035, 0.2])
@pytest.mark.parametrize("per_token", [0.00005, 0.0016])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_a_mixed_step_keeps_to_the_factor(decode_s: float, per_token: float, share: float) -> None:
    pace = Pace(512, 2.5)
    ratios = _drive(pace, decode_s, share * decode_s, per_token)
    least = 1 + share + FLOOR * per_token / decode_s
    assert max(ratios) < max(3.0, 1.1 * least)
    if FLOOR < pace.chunk(8) < 512:
        assert sum(ratios[-20:]) / 20 == pytest.approx(2.5, abs=0.3), "room is left unused"


def test_its_bounds() -> None:
    fast = Pace(256, 2.0)
    _drive(fast, 1.0, 0.0, 1e-6)
    assert fast.chunk(1) == 256
    slow = Pace(256, 2.0)
    _drive(slow, 0.001, 0.0, 1.0)
    assert slow.chunk(1) == FLOOR
    assert Pace(512, 2.0).chunk(1) == FLOOR, "nothing is known yet"


def test_the_end_of_a_prompt_does_not_change_what_was_found() -> None:
    pace = Pace(512, 2.5)
    _drive(pace, 0.030, 0.010, 0.001)
    before = pace.chunk(8)
    pace.observe(8, 3, 0.043)
    assert pace.chunk(8) == before


def test_it_follows_when_steps_grow() -> None:
    pace = Pace(512, 2.5)
    _drive(pace, 0.030, 0.0, 0.001)
    before = pace.chunk(8)
    _drive(pace, 0.120, 0.0, 0.001)
    assert pace.chunk(8) > 2 * before
    _drive(pace, 0.120, 0.0, 0.010)
    assert pace.chunk(8) < before


def test_many_prompts_are_read_in_larger_pieces() -> None:
    pace = Pace(256, 2.5)
    pace.observe(0, 500, 0.5)
    for _ in range(20):
        pace.observe(8, 0, 0.010)
    one, few, most = (pace.chunk(8, prompts) for prompts in (1, 4, 9))
    assert one <= 15, "the gap rule: 1.5 steps' worth of tokens"
    assert 4 * one < few < most == 1024
    assert pace.chunk(8, 2, 1000) == 1024, "one step ends all waiting"
    assert pace.chunk(8, 2, 1025) == pace.chunk(8, 2)
    assert pace.chunk(8, 1, 100) == one, "one prompt waits by itself"
    pace.observe(8, most, 0.7, 9)
    assert pace.chunk(8) == one, "what many prompts took says nothing about one"


def test_what_fits_beside_few_calls_is_not_what_fits_beside_many() -> None:
    pace = Pace(512, 2.5)
    _drive(pace, 0.030, 0.0, 0.001)
    for _ in range(20):
        pace.observe(1, 0, 0.005)
    pace.observe(1, 8, 0.0125)
    assert pace.chunk(1) < 12
    assert pace.chunk(8) > 30
    assert pace.chunk(9) == pace.chunk(8)


@pytest.mark.parametrize("decode_s", [0.006, 0.035, 0.2])
@pytest.mark.parametrize("per_token", [0.00005, 0.0016])
@pytest.mark.parametrize("fixed", [0.0, 0.5])
def test_a_step_for_prompts_and_one_for_the_rest_keep_to_the_factor_together(
    decode_s: float, per_token: float, fixed: float
) -> None:
    pace = Pace(512, 2.5, apart=True)
    rng = random.Random(2)
    pace.observe(0, 500, 500 * per_token)
    ratios = []
    for at in range(80):
        noise = rng.uniform(0.95, 1.05)
        pace.observe(8, 0, decode_s * noise)
        tokens = pace.chunk(8)
        seconds = (fixed * decode_s + tokens * per_token * (1 + at / 80)) * noise  # dearer the further it is
        pace.observe(0, tokens, seconds)
        ratios.append((decode_s + seconds) / decode_s)
    least = 1 + fixed + 2 * FLOOR * per_token / decode_s
    assert max(ratios[1:]) < max(3.0, 1.1 * least)
    if FLOOR < pace.chunk(8) < 512:
        assert sum(ratios[-20:]) / 20 == pytest.approx(2.5, abs=0.3), "room is left unused"
