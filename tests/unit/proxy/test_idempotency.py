"""Paying once for what is asked twice."""

import asyncio

import pytest

from proxy import idempotency
from proxy.errors import BadRequest, Conflict, Fault, UpstreamError
from proxy.idempotency import Idempotency, Kept, body_hash, named, retried

A, B = body_hash(b"a"), body_hash(b"b")


class Replays:
    def __init__(self) -> None:
        self.kept: dict[str, Kept] = {}

    async def get(self, name: str, since_us: int) -> Kept | None:
        kept = self.kept.get(name)
        return kept if kept is not None and kept.created_us >= since_us else None

    async def put(self, kept: Kept, since_us: int) -> None:
        self.kept.setdefault(kept.name, kept)


class Clock:
    now = 10**15

    def __call__(self) -> int:
        return self.now


def test_names_belong_to_a_caller_and_a_route() -> None:
    names = {named("k", "chat", "1"), named("k2", "chat", "1"), named("k", "images", "1"), retried("k", "chat", "1")}
    assert len(names) == 4
    with pytest.raises(BadRequest):
        named("k", "chat", "x" * 256)


def test_whoever_joins_gets_every_frame_from_the_first() -> None:
    async def work() -> None:
        desk = Idempotency()
        flight = desk.take_off("n", A)
        flight.begin(200, [("content-type", "text/event-stream")])
        flight.add(b"one")
        joined = desk.find("n", A)
        assert joined is flight

        async def read() -> list[bytes]:
            assert (await flight.started())[0] == 200
            return [frame async for frame in flight.follow()]

        readers = [asyncio.create_task(read()) for _ in range(3)]
        await asyncio.sleep(0)
        for frame in (b"two", b"three"):
            flight.add(frame)
            await asyncio.sleep(0)
        flight.add(b"four")
        flight.end()
        assert await asyncio.gather(*readers, read()) == [[b"one", b"two", b"three", b"four"]] * 4

    asyncio.run(work())


def test_whoever_joins_gets_the_same_failure() -> None:
    async def work() -> None:
        desk = Idempotency()
        early, late = desk.take_off("e", A), desk.take_off("l", A)
        waiting = asyncio.create_task(early.started())
        await asyncio.sleep(0)
        early.fail(UpstreamError(Fault.TIMEOUT, "too slow"))
        with pytest.raises(UpstreamError, match="too slow"):
            await waiting
        late.begin(200, [])
        late.add(b"x")
        late.fail(asyncio.CancelledError())
        frames = late.follow()
        assert await anext(frames) == b"x"
        with pytest.raises(Conflict, match="given up"):
            await anext(frames)
        assert desk.find("e", A) is None  # a retry may go better
        assert desk.find("l", A) is None

    asyncio.run(work())


def test_another_body_under_the_same_name_is_refused() -> None:
    async def work() -> None:
        replays = Replays()
        desk = Idempotency(replays)
        flight = desk.take_off("n", A)
        with pytest.raises(BadRequest, match="another request body"):
            desk.find("n", B)
        flight.begin(200, [])
        flight.end()
        assert await desk.keep(flight)
        with pytest.raises(BadRequest, match="another request body"):
            await Idempotency(replays).kept("n", B)

    asyncio.run(work())


def test_good_answers_are_kept_for_a_day_and_others_not() -> None:
    async def work() -> None:
        replays, clock = Replays(), Clock()
        desk = Idempotency(replays, clock)
        for name, status in (("good", 200), ("bad", 400), ("worse", 502)):
            flight = desk.take_off(name, A)
            flight.begin(status, [("x-request-id", "1")])
            flight.add(b"frame")
            flight.add(b" and frame")
            flight.end()
            assert await desk.keep(flight) is (status == 200)
        kept = await Idempotency(replays, clock).kept("good", A)
        assert kept is not None
        assert (kept.status, kept.headers, kept.body) == (200, [("x-request-id", "1")], b"frame and frame")
        assert await desk.kept("bad", A) is None
        clock.now += idempotency.DAY_US + 1
        assert await desk.kept("good", A) is None
        assert await Idempotency().kept("good", A) is None

    asyncio.run(work())


def test_a_call_that_has_just_ended_can_be_joined_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        clock = Clock()
        desk = Idempotency(None, clock)
        flight = desk.take_off("n", A)
        flight.begin(200, [])
        flight.add(b"all of it")
        flight.end()
        clock.now += idempotency.LINGER_US - 1
        assert desk.find("n", A) is flight
        assert [frame async for frame in flight.follow()] == [b"all of it"]
        clock.now += 1
        assert desk.find("n", A) is None

    asyncio.run(work())


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "HELD_MAX", 1000)
    monkeypatch.setattr(idempotency, "FRAMES_MAX", 500)

    async def work() -> None:
        desk = Idempotency(Replays())
        for number in range(50):
            flight = desk.take_off(f"n{number}", A)
            flight.begin(200, [])
            flight.add(b"x" * 100)
            flight.end()
        assert desk.find("n0", A) is None
        assert desk.find("n49", A) is not None
        assert desk._held <= 1000
        long = desk.take_off("long", A)
        long.begin(200, [])
        for _ in range(6):
            long.add(b"x" * 100)
        assert long.frames == []
        with pytest.raises(Conflict):
            desk.find("long", A)
        long.end()
        assert not await desk.keep(long)
        assert desk.find("long", A) is None

    asyncio.run(work())
