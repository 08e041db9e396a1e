"""Which call a retry means."""

import asyncio
from typing import Any

import pytest

from proxy import retries
from proxy.errors import RateExceeded
from proxy.retries import Retries, Trip

ASK = ("key-1", "/v1/chat/completions", b'{"model":"m"}')


def begun(desk: Retries, count: int = 0, ask: Any = ASK) -> Trip:
    trip = desk.begin(*ask, count)
    trip.begin(200, [])
    trip.add(b"frame")
    return trip


@pytest.mark.asyncio
@pytest.mark.parametrize("over", [False, True])
async def test_a_retry_finds_the_call_once(over: bool) -> None:
    desk = Retries()
    trip = begun(desk)
    if over:
        trip.end()
    assert desk.find(*ASK, 1) is trip
    assert desk.find(*ASK, 1) is None, "another retry of the same number is another call's"
    assert desk.find(*ASK, 2) is trip, "the second retry of the same call"
    desk.aclose()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "other",
    [
        ("key-2", ASK[1], ASK[2]),
        (ASK[0], "/v1/embeddings", ASK[2]),
        (ASK[0], ASK[1], b'{"model":"n"}'),
        (ASK[0], ASK[1], ASK[2] + b" "),
    ],
)
async def test_only_the_same_caller_route_and_body(other: Any) -> None:
    desk = Retries()
    begun(desk)
    assert desk.find(*other, 1) is None
    desk.aclose()


@pytest.mark.asyncio
async def test_of_equal_calls_the_one_that_was_left_then_the_failed_then_any() -> None:
    desk = Retries()
    sound, failed, left = begun(desk), begun(desk), begun(desk)
    failed.fail(RateExceeded("later"))
    left.gone = True
    assert desk.find(*ASK, 1) is left
    assert desk.find(*ASK, 1) is failed
    assert desk.find(*ASK, 1) is sound
    desk.aclose()


@pytest.mark.asyncio
async def test_what_has_ended_is_forgotten_in_time_and_size(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Retries()
    monkeypatch.setattr(retries, "HELD_MAX", 100 + 5 * retries.OVERHEAD)
    trips = [begun(desk) for _ in range(10)]
    for trip in trips:
        trip.end()
    assert desk._held <= retries.HELD_MAX
    found = [desk.find(*ASK, 1) for _ in range(10)]
    assert [trip for trip in found if trip is not None] == trips[-5:], "13 bytes of body, 5 of frame: five fit"
    monkeypatch.setattr(retries, "LINGER_S", -1.0)
    desk._sweep()
    assert (desk._trips, desk._held, list(desk._ended)) == ({}, 0, [])
    desk.aclose()


@pytest.mark.asyncio
async def test_a_stream_is_let_go_once_its_client_has_its_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Retries()
    waiting, long, followed = desk.begin(*ASK, 0), begun(desk), begun(desk)
    followed.joined = 1
    monkeypatch.setattr(retries, "HEAD_S", -1.0)
    desk._sweep()
    assert (long.frames, followed.frames) == ([], [b"frame"])
    long.add(b"more")
    assert long.frames == []
    assert {desk.find(*ASK, 1), desk.find(*ASK, 1)} == {waiting, followed}
    long.end()
    assert list(desk._ended) == []
    desk.aclose()


@pytest.mark.asyncio
async def test_the_sweep_rests_when_there_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "SWEEP_S", 0.001)
    monkeypatch.setattr(retries, "LINGER_S", -1.0)
    desk = Retries()
    begun(desk).end()
    async with asyncio.timeout(5):
        while desk._sweeping is not None:  # noqa: ASYNC110 - a timer tells nobody
            await asyncio.sleep(0.001)
    assert desk._trips == {}
