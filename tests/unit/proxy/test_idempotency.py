"""Paying once for what is asked twice."""

import asyncio
from typing import Any

import pytest

from proxy import idempotency
from proxy.errors import BadRequest, Conflict, Fault, UpstreamError
from proxy.idempotency import DAY_US, LEASE_US, Flight, Idempotency, Kept, MemoryReplays, body_hash, named

A, B = body_hash(b"a"), body_hash(b"b")


class Clock:
    now = 10**15

    def __call__(self) -> int:
        return self.now


def landed(flight: Flight, *frames: bytes, status: int = 200) -> Flight:
    """Begun and given these frames; to be ended."""
    flight.begin(status, [(b"x-request-id", b"1")])
    for frame in frames:
        flight.add(frame)
    return flight


def test_names_belong_to_a_caller_and_a_route() -> None:
    names = {named("k", "chat", "1"), named("k2", "chat", "1"), named("k", "images", "1"), named("k", "chat", "2")}
    assert len(names) == 4
    for key in ("", "x" * 256):
        with pytest.raises(BadRequest):
            named("k", "chat", key)
    assert body_hash(b"a", b"b") == body_hash(b"ab") != body_hash(b"ba")


@pytest.mark.asyncio
async def test_whoever_joins_gets_every_frame_from_the_first() -> None:
    desk = Idempotency()
    flight = landed(desk.take_off("n", A), b"one ")
    assert desk.find("n", A) is flight

    async def read() -> bytes:
        assert (await flight.started())[0] == 200
        return b"".join([frame async for frame in flight.follow()])

    readers = [asyncio.create_task(read()) for _ in range(3)]
    await asyncio.sleep(0)
    for frame in (b"two ", b"three "):
        flight.add(frame)
        await asyncio.sleep(0)
    flight.add(b"four")
    flight.end()
    assert await asyncio.gather(*readers, read()) == [b"one two three four"] * 4


@pytest.mark.asyncio
async def test_whoever_joins_gets_the_same_failure() -> None:
    desk = Idempotency()
    early, late = desk.take_off("e", A), desk.take_off("l", A)
    waiting = asyncio.create_task(early.started())
    await asyncio.sleep(0)
    early.fail(UpstreamError(Fault.TIMEOUT, "too slow"))
    with pytest.raises(UpstreamError, match="too slow"):
        await waiting
    landed(late, b"x").fail(asyncio.CancelledError())
    frames = late.follow()
    assert await anext(frames) == b"x"
    with pytest.raises(Conflict, match="given up"):
        await anext(frames)
    assert desk.find("e", A) is None  # a retry may go better
    assert desk.find("l", A) is None


@pytest.mark.asyncio
async def test_another_body_under_the_same_name_is_refused() -> None:
    replays = MemoryReplays()
    desk = Idempotency(replays)
    flight = desk.take_off("n", A)
    with pytest.raises(BadRequest, match="another request body"):
        desk.find("n", B)
    assert await desk.earlier(flight) is None
    assert await desk.keep(landed(flight, b"x"))
    flight.end()
    other = Idempotency(replays)
    with pytest.raises(BadRequest, match="another request body"):
        await other.earlier(other.take_off("n", B))
    await desk.aclose()


@pytest.mark.asyncio
async def test_good_answers_are_kept_for_a_day_and_others_not() -> None:
    replays, clock = MemoryReplays(), Clock()
    desk = Idempotency(replays, clock)
    for name, status in (("good", 200), ("bad", 400), ("worse", 502)):
        flight = desk.take_off(name, A)
        assert await desk.earlier(flight) is None
        assert await desk.keep(landed(flight, b"frame", b" and frame", status=status)) is (status == 200)
        flight.end()
    kept = await desk.earlier(desk.take_off("good", A))
    assert kept is not None
    assert (kept.status, kept.headers, kept.body) == (200, [("x-request-id", "1")], b"frame and frame")
    assert await desk.earlier(desk.take_off("bad", A)) is None
    clock.now += DAY_US + 1
    assert await desk.earlier(desk.take_off("good", A)) is None
    await desk.aclose()


@pytest.mark.asyncio
async def test_another_process_waits_for_the_answer_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "LOOK_S", 0.001)
    replays = MemoryReplays()
    here, there = Idempotency(replays), Idempotency(replays)
    first, second = here.take_off("n", A), there.take_off("n", A)
    assert await here.earlier(first) is None
    waiting = asyncio.create_task(there.earlier(second))
    await asyncio.sleep(0.02)
    assert not waiting.done()
    await here.keep(landed(first, b"the answer"))
    kept = await waiting
    assert kept is not None
    assert kept.body == b"the answer"
    await here.aclose()


@pytest.mark.asyncio
@pytest.mark.parametrize("how", ["released", "died"])
async def test_a_name_is_free_again_when_its_owner_fails_or_dies(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "LOOK_S", 0.001)
    replays, clock = MemoryReplays(), Clock()
    here, there = Idempotency(replays, clock), Idempotency(replays, clock)
    first = here.take_off("n", A)
    assert await here.earlier(first) is None
    waiting = asyncio.create_task(there.earlier(there.take_off("n", A)))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    if how == "released":
        await here.release(first)
    else:
        clock.now += LEASE_US
    assert await waiting is None
    await here.release(first)  # it owns nothing any more: the other's claim stands
    assert (await replays.claim(Kept("n", A, clock.now), 0, clock.now - 1)) is not None
    await here.aclose()
    await there.aclose()


@pytest.mark.asyncio
async def test_a_claim_is_renewed_while_its_call_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "RENEW_S", 0.005)
    renewed = asyncio.Event()

    class Watched(MemoryReplays):
        async def renew(self, names: list[str], claim: Kept) -> None:
            await super().renew(names, claim)
            renewed.set()

    replays, clock = Watched(), Clock()
    desk = Idempotency(replays, clock)
    flight = desk.take_off("n", A)
    await desk.earlier(flight)
    clock.now += LEASE_US
    renewed.clear()
    await asyncio.wait_for(renewed.wait(), 5)
    other = Kept("n", A, clock.now, 0, [("owner", "somebody else")])
    assert (await replays.claim(other, 0, clock.now - LEASE_US)) is not None
    await desk.release(flight)
    assert await replays.claim(other, 0, clock.now - LEASE_US) is None
    await desk.aclose()


@pytest.mark.asyncio
async def test_what_is_too_long_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "FRAMES_MAX", 500)
    desk = Idempotency()
    long = desk.take_off("long", A)
    await desk.earlier(long)
    landed(long, *[b"x" * 100] * 6)
    assert long.frames == []
    with pytest.raises(Conflict):
        desk.find("long", A)
    assert not await desk.keep(long)
    long.end()
    followed = desk.take_off("followed", A)
    followed.joined = 1
    landed(followed, *[b"x" * 100] * 6)
    assert len(followed.frames) == 6, "somebody reads it"
    await desk.aclose()


@pytest.mark.asyncio
async def test_memory_without_a_database_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "HELD_MAX", 1000)
    replays = MemoryReplays()
    for number in range(50):
        await replays.put(Kept(f"n{number}", A, 1, 200, [], b"x" * 100))
    assert await replays.claim(Kept("n0", A, 1), 0, 0) is None
    assert await replays.claim(Kept("n49", A, 1), 0, 0) is not None
    assert replays._held <= 1000


@pytest.mark.asyncio
async def test_an_end_counts_once() -> None:
    ends: list[Any] = []
    flight = Flight("n", A, ends.append)
    flight.alone = lambda: None
    flight.end()
    flight.fail(ValueError())
    flight.end()
    assert (ends, flight.complete, flight.error, flight.alone) == ([flight], True, None, None)
