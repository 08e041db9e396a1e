"""The schedule of looks, as numbers."""

import pytest

from adapters.job_pace import Look, Manner, Phase, note_of, wait_s, workers

QUEUED, RUNNING = Look(Phase.QUEUED), Look(Phase.RUNNING)


def test_the_schedule_grows_and_stays() -> None:
    waits = [wait_s(n, 0, QUEUED, Manner.STEADY, abandoned=False) for n in range(11)]
    assert waits == [0.25, 0.5, 0.5, 1, 1, 2, 2, 5, 5, 5, 5]


def test_live_text_is_read_often_once_it_runs() -> None:
    assert wait_s(9, 0, RUNNING, Manner.LIVE, abandoned=False) == 0.3
    assert wait_s(9, 0, QUEUED, Manner.LIVE, abandoned=False) == 5


@pytest.mark.parametrize(("misses", "expected"), [(1, 0.5), (2, 1), (3, 2), (4, 4), (5, 5), (60, 5)])
def test_failed_reads_back_off(misses: int, expected: float) -> None:
    assert wait_s(3, misses, RUNNING, Manner.LIVE, abandoned=False) == expected


def test_with_hints_or_without_a_waiter_looks_are_rare() -> None:
    assert wait_s(0, 0, None, Manner.HINTED, abandoned=False) >= 15
    assert wait_s(0, 0, None, Manner.LIVE, abandoned=True) >= 10


def test_a_note_says_what_is_known_and_nothing_that_the_upstream_wrote() -> None:
    look = Look(
        Phase.QUEUED,
        body={"auth_key": "secret"},
        position=3,
        percent=12.4,
        text="secret",
    )
    assert look.note == "status=queued queue_position=3 progress=12%"
    assert RUNNING.note == "status=running"


@pytest.mark.parametrize(("said", "count"), [(None, 1), ("", 1), ("4", 4), ("0", 1), ("many", 1), ("-3", 1)])
def test_workers(monkeypatch: pytest.MonkeyPatch, said: str | None, count: int) -> None:
    if said is None:
        monkeypatch.delenv("TRAGHETTO_WORKERS", raising=False)
    else:
        monkeypatch.setenv("TRAGHETTO_WORKERS", said)
    assert workers() == count


def test_how_the_last_job_goes() -> None:
    class One:
        def __init__(self, latest: Look | None) -> None:
            self.latest = latest

    assert note_of([]) == note_of([One(None)]) == "submitted"
    assert note_of([One(None), One(Look(Phase.QUEUED, position=3))]) == "status=queued queue_position=3"
