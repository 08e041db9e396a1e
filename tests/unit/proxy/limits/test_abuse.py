"""The guard against callers that keep failing."""

import pytest

from proxy.limits.abuse import AbuseGuard


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_more_than_twenty_failures_in_thirty_seconds_block_for_thirty() -> None:
    clock = Clock()
    guard = AbuseGuard(clock=clock)
    for number in range(20):
        clock.now = number
        assert not guard.failed("k")
    assert guard.blocked_s("k") == 0
    clock.now = 30.0
    assert guard.failed("k")
    assert guard.blocked_s("k") == 30
    assert guard.blocked_s("other") == 0
    clock.now = 59.5
    assert guard.blocked_s("k") == 0.5
    clock.now = 60.0
    assert guard.blocked_s("k") == 0
    assert not guard.failed("k")  # it begins anew


def test_failures_far_apart_are_none_of_its_business() -> None:
    clock = Clock()
    guard = AbuseGuard(failures=2, window_s=10, clock=clock)
    for number in range(50):
        clock.now = number * 5.001
        assert not guard.failed("k")


def test_it_can_be_configured_and_switched_off() -> None:
    clock = Clock()
    short = AbuseGuard(failures=1, window_s=5, block_s=7, clock=clock)
    assert not short.failed("k")
    assert short.failed("k")
    assert short.blocked_s("k") == 7
    off = AbuseGuard(failures=0, clock=clock)
    assert not any(off.failed("k") for _ in range(100))


def test_it_forgets_keys_that_behave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.limits.abuse.SWEEP_AT", 5)
    clock = Clock()
    guard = AbuseGuard(clock=clock)
    for number in range(5):
        guard.failed(f"k{number}")
    clock.now = 31
    guard.failed("new")
    assert set(guard._failed) == {"new"}
