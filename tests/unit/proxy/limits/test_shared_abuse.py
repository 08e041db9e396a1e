"""The guard of several processes: two that share a file are held to one count."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.limits.shared_abuse import FAILURES_MAX, SharedGuard
from proxy.limits.shared_file import SharedFile


class Clock:
    now = 0

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def files(tmp_path: Path) -> Iterator[list[SharedFile]]:
    opened = [SharedFile(tmp_path / "failures", records=64) for _ in range(2)]
    yield opened
    for file in opened:
        file.close()


def test_two_count_together(files: list[SharedFile]) -> None:
    clock = Clock()
    one, two = (SharedGuard(file, clock=clock) for file in files)
    for number in range(20):
        clock.now = number * 1_000_000
        assert not (one, two)[number % 2].failed("k")
    assert one.blocked_s("k") == two.blocked_s("k") == 0
    clock.now = 30_000_000
    assert one.failed("k")
    assert one.blocked_s("k") == two.blocked_s("k") == 30
    assert two.blocked_s("other") == 0
    clock.now = 59_500_000
    assert two.blocked_s("k") == 0.5
    clock.now = 60_000_000
    assert two.blocked_s("k") == 0
    assert not two.failed("k")  # it begins anew


def test_old_failures_do_not_count(files: list[SharedFile]) -> None:
    clock = Clock()
    one, two = (SharedGuard(file, failures=2, clock=clock) for file in files)
    for number in range(10):
        clock.now = number * 15_100_000
        assert not (one, two)[number % 2].failed("k")


@pytest.mark.parametrize("failures", [1, FAILURES_MAX])
def test_from_one_to_as_many_as_a_record_holds(files: list[SharedFile], failures: int) -> None:
    clock = Clock()
    one, two = (SharedGuard(file, failures=failures, clock=clock) for file in files)
    for number in range(failures):
        assert not (one, two)[number % 2].failed("k")
    assert two.failed("k")
    assert one.blocked_s("k") == 30


def test_none_allowed_switches_it_off(files: list[SharedFile]) -> None:
    guard = SharedGuard(files[0], failures=0)
    assert not any(guard.failed("k") for _ in range(50))
    assert guard.blocked_s("k") == 0


def test_while_the_file_cannot_be_had_each_counts_alone(
    files: list[SharedFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.limits.shared_file.BUSY_S", 0.0)
    clock = Clock()
    one, two = (SharedGuard(file, failures=2, clock=clock) for file in files)
    with files[1]:
        assert [one.failed("k") for _ in range(3)] == [False, False, True]
    assert (one.blocked_s("k"), two.blocked_s("k")) == (30, 0)


def test_a_full_file_is_no_failure(tmp_path: Path) -> None:
    file = SharedFile(tmp_path / "small", records=2)
    guard = SharedGuard(file, failures=1, clock=Clock())
    found = [[guard.failed(f"k{number}"), guard.failed(f"k{number}")] for number in range(5)]
    assert found == [[False, True]] * 5
    assert {guard.blocked_s(f"k{number}") for number in range(5)} == {30}
    file.close()
