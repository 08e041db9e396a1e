"""Prompt tokens beside running streams."""

from adapters.llama.pace import FLOOR, Pace


def test_it_keeps_a_mixed_step_within_the_factor() -> None:
    pace = Pace(512, 2.0)
    assert pace.chunk(8) == 64, "nothing is known yet"
    for _ in range(30):
        pace.observe(8, 0, 0.030)
        pace.observe(8, 100, 0.030 + 100 * 0.0005)
    assert 50 <= pace.chunk(8) <= 70
    for _ in range(60):
        pace.observe(8, 0, 0.060)
    assert 105 <= pace.chunk(8) <= 135


def test_its_bounds() -> None:
    pace = Pace(256, 2.0)
    for _ in range(30):
        pace.observe(1, 0, 1.0)
        pace.observe(0, 200, 0.001)
    assert pace.chunk(1) == 256
    slow = Pace(256, 2.0)
    for _ in range(30):
        slow.observe(1, 0, 0.001)
        slow.observe(0, 200, 10.0)
    assert slow.chunk(1) == FLOOR
