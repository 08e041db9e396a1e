"""The breaker's states, the moving averages."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.call import Target
from proxy.config import Breaker
from proxy.health import Health, State

T = Target("up", "m")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def made(failures: int = 3, open_s: float = 30.0) -> tuple[Health, Clock]:
    clock = Clock()
    return Health(Breaker(failures=failures, open_s=open_s), clock), clock


def test_opens_after_failures_in_a_row_and_lets_one_try() -> None:
    health, clock = made()
    for _ in range(2):
        health.failed(T)
    health.answered(T)
    for _ in range(2):
        health.failed(T)
    assert health.enter(T)
    health.failed(T)
    assert health.record(T).state is State.OPEN
    assert not health.enter(T)
    assert health.open_for_s(T) == 30
    clock.now += 30
    assert health.open_for_s(T) == 0
    assert health.enter(T)
    assert health.record(T).state is State.TRYING
    assert not health.enter(T), "one finds out, the others wait"
    assert health.open_for_s(T) > 0
    health.failed(T)
    assert health.record(T).state is State.OPEN
    clock.now += 30
    assert health.enter(T)
    health.answered(T)
    assert health.record(T).state is State.CLOSED
    assert health.enter(T)
    assert health.enter(T)


def test_a_trial_whose_client_left_gives_its_place_back() -> None:
    health, clock = made(failures=1)
    health.failed(T)
    clock.now += 30
    assert health.enter(T)
    health.left(T)
    assert health.enter(T)


def test_a_trial_that_never_ends_does_not_keep_the_breaker_open_for_ever() -> None:
    health, clock = made(failures=1)
    health.failed(T)
    clock.now += 30
    assert health.enter(T)
    clock.now += 30
    assert health.enter(T)


def test_leaving_a_closed_breaker_changes_nothing() -> None:
    health, _ = made()
    health.failed(T)
    health.left(T)
    assert health.record(T).state is State.CLOSED
    assert health.record(T).failures == 1


def test_targets_are_apart() -> None:
    health, _ = made(failures=1)
    health.failed(T)
    assert health.enter(Target("up", "other"))
    assert health.open_for_s(Target("elsewhere", "m")) == 0


def test_averages() -> None:
    health, _ = made()
    health.answered(T, 1.0)
    health.answered(T, 2.0)
    assert health.record(T).ttft_s == pytest.approx(1.2)
    health.answered(T)
    assert health.record(T).ttft_s == pytest.approx(1.2)
    health.flowed(T, 7, 1.0)
    health.flowed(T, 100, 0.0)
    assert health.record(T).tokens_per_s is None, "too little to measure by"
    health.flowed(T, 100, 2.0)
    assert health.record(T).tokens_per_s == 50
    assert health.record(T).calls == 3


@settings(deadline=None, derandomize=True)
@given(st.lists(st.sampled_from(["failed", "answered", "left", "enter", "wait"]), max_size=40))
def test_whatever_happens_a_target_is_asked_again(steps: list[str]) -> None:
    health, clock = made(failures=2, open_s=10)
    for step in steps:
        if step == "wait":
            clock.now += 4
        else:
            getattr(health, step)(T)
        record = health.record(T)
        assert (health.open_for_s(T) == 0) or record.state is not State.CLOSED
    clock.now += 10
    assert health.enter(T)
