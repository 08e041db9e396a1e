"""Who joins whose call, what is kept of it, and when it outlives its client."""

import asyncio
from typing import Any

import pytest

from fakes.calls import chat_call
from proxy.call import Ending, Target
from proxy.errors import BadRequest, Conflict, Fault, Unavailable, UpstreamError
from proxy.idempotency import Flight
from proxy.media.payload import Payload
from proxy.wire.edits import EditOrder
from routes import _replay
from routes._replay import Asked, Joined, Recorded, Repeats, asked, fingerprint, joined


class Reply:
    """Frames, then an end or a failure."""

    status = 200
    content_type = "text/event-stream"
    usage = None

    def __init__(self, *frames: bytes, fails: Exception | None = None) -> None:
        self.frames = list(frames)
        self.fails = fails
        self.ending: Ending | None = None
        self.closed = 0
        self.headers = [("x-ratelimit-limit-requests", "3")]

    async def next(self) -> bytes:
        if len(self.frames) == 1 and self.fails is None:
            self.ending = Ending.FINISHED
        if not self.frames and self.fails is not None:
            raise self.fails
        return self.frames.pop(0)

    def close(self) -> None:
        self.closed += 1


class House:
    """Opens whatever reply is next."""

    def __init__(self, *replies: Any) -> None:
        self.replies = list(replies)
        self.opened = 0


@pytest.fixture(autouse=True)
def run(monkeypatch: pytest.MonkeyPatch) -> None:
    async def opened(call: Any, house: House) -> Any:
        house.opened += 1
        reply = house.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply

    monkeypatch.setattr(_replay.pipeline, "run", opened)


class Outlet:
    on_gone: Any = None
    cancelled = 0

    def cancel(self) -> None:
        self.cancelled += 1


def call(**more: Any) -> Any:
    return chat_call(Target("up", "m"), **more)


async def opened(desk: Repeats, house: Any, said: Asked, outlet: Any = None, **more: Any) -> Any:
    return await desk.open(said, call(**more), house, outlet or Outlet(), "/v1/x")


async def drained(reply: Any) -> bytes:
    out = b""
    while True:
        out += await reply.next()
        if reply.ending is not None:
            return out


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ([], None),
        ([(b"x-request-id", b"1")], None),
        ([(b"x-stainless-retry-count", b"0")], Asked(None, 0)),
        ([(b"x-stainless-retry-count", b"2")], Asked(None, 2)),
        ([(b"x-stainless-retry-count", b"-1")], None),
        ([(b"x-stainless-retry-count", b"99999")], None),
        ([(b"idempotency-key", b" a ")], Asked("a", None)),
        ([(b"idempotency-key", b"a"), (b"x-stainless-retry-count", b"1")], Asked("a", 1)),
    ],
)
def test_what_a_request_says(headers: Any, said: Asked | None) -> None:
    assert asked(headers) == said


def test_a_key_is_ascii() -> None:
    with pytest.raises(BadRequest):
        asked([(b"idempotency-key", b"\xff")])


@pytest.mark.asyncio
async def test_the_second_under_a_key_gets_the_first_ones_answer() -> None:
    desk, house = Repeats(), House(Reply(b"one ", b"two"))
    first = await opened(desk, house, Asked("k", None))
    assert isinstance(first, Recorded)
    assert await first.next() == b"one "
    early = await opened(desk, house, Asked("k", None))
    assert await early.next() == b"one "
    assert early.ending is None
    assert await drained(first) == b"two"
    assert await drained(early) == b"two"
    late = await opened(desk, house, Asked("k", None))
    assert isinstance(late, Joined)
    assert await drained(late) == b"one two"
    assert (late.status, late.content_type, late.id) == (200, "text/event-stream", "call-1")
    assert late.headers == [("x-ratelimit-limit-requests", "3"), ("idempotent-replayed", "true")]
    assert house.opened == 1
    await desk.aclose()


@pytest.mark.asyncio
async def test_frames_that_flow_are_kept_as_well() -> None:
    class Flowing(Reply):
        async def flow(self, write: Any) -> bytes:
            assert write(self.frames.pop(0))
            assert not write(b"not taken")
            return await self.next()

    desk, house = Repeats(), House(Flowing(b"one ", b"two ", b"three"))
    reply = await opened(desk, house, Asked("k", None))
    written: list[bytes] = []

    def write(frames: bytes) -> bool:
        if frames != b"not taken":
            written.append(frames)
            return True
        return False

    assert await reply.next() == b"one "
    assert (await reply.flow(write), written) == (b"three", [b"two "])
    assert await drained(await opened(desk, house, Asked("k", None))) == b"one two three"
    await desk.aclose()


@pytest.mark.asyncio
@pytest.mark.parametrize("where", ["before the head", "half-way", "given up"])
async def test_what_did_not_end_well_is_not_kept(where: str) -> None:
    broken = UpstreamError(Fault.CUT, "it ended")
    bad: Any = {"before the head": broken, "half-way": Reply(b"one", fails=broken), "given up": Reply(b"one", b"two")}
    desk, house = Repeats(), House(bad[where], Reply(b"good"))
    waiting = None
    if where == "before the head":
        with pytest.raises(UpstreamError):
            await opened(desk, house, Asked("k", None))
    else:
        reply = await opened(desk, house, Asked("k", None))
        await reply.next()
        waiting = await opened(desk, house, Asked("k", None))
        assert await waiting.next() == b"one"
        if where == "half-way":
            with pytest.raises(UpstreamError):
                await reply.next()
        reply.close()
        with pytest.raises(UpstreamError if where == "half-way" else Conflict):
            await waiting.next()
    await asyncio.gather(*desk._releasing)
    assert await drained(await opened(desk, house, Asked("k", None))) == b"good"
    await desk.aclose()


@pytest.mark.asyncio
async def test_an_answer_is_given_even_where_it_cannot_be_kept() -> None:
    desk, house = Repeats(), House(Reply(b"x"))

    async def away(kept: Any) -> None:
        raise Unavailable("away")

    desk.idempotency._replays.put = away  # type: ignore[method-assign]
    assert await drained(await opened(desk, house, Asked("k", None))) == b"x"
    await desk.aclose()


@pytest.mark.asyncio
async def test_retries_without_a_key() -> None:
    desk, house = Repeats(), House(*[Reply(b"%d" % number) for number in range(5)])
    for _ in range(2):  # equal first tries are two calls
        await drained(await opened(desk, house, Asked(None, 0)))
    assert await drained(await opened(desk, house, Asked(None, 1))) == b"0"
    assert await drained(await opened(desk, house, Asked(None, 1))) == b"1"
    assert await drained(await opened(desk, house, Asked(None, 1))) == b"2", "nobody's retry: a call of its own"
    assert await drained(await opened(desk, house, Asked(None, 1), temperature=1)) == b"3", "another body"
    assert house.opened == 4
    await desk.aclose()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("hold_s", "began", "after", "cancelled"),
    [
        (10, False, 0.0, True),  # no head yet: nothing to come back for
        (10, True, 3.9, False),
        (10, True, 4.1, True),
        (0, True, 0.0, True),
    ],
)
async def test_whether_a_counted_call_outlives_its_client(
    hold_s: float, began: bool, after: float, cancelled: bool
) -> None:
    desk, house, outlet = Repeats(hold_s), House(Reply(b"one", b"two")), Outlet()
    reply = await opened(desk, house, Asked(None, 0), outlet)
    if began:
        await reply.next()
        reply._flight.began -= after
    outlet.on_gone()
    assert outlet.cancelled == cancelled
    desk.retries.aclose()


@pytest.mark.asyncio
async def test_nobody_came_back() -> None:
    desk, house, outlet = Repeats(0.02), House(Reply(b"one", b"two")), Outlet()
    await (await opened(desk, house, Asked(None, 0), outlet)).next()
    outlet.on_gone()
    await asyncio.sleep(0.06)
    assert outlet.cancelled == 1
    desk.retries.aclose()


@pytest.mark.asyncio
async def test_who_came_back_and_left_again_was_the_last() -> None:
    desk, house, outlet = Repeats(5), House(Reply(b"one", b"two", b"three")), Outlet()
    await (await opened(desk, house, Asked(None, 0), outlet)).next()
    outlet.on_gone()
    second = await opened(desk, house, Asked(None, 1))
    third = await opened(desk, house, Asked(None, 2))
    second.close()
    second.close()
    assert outlet.cancelled == 0
    third.close()
    assert outlet.cancelled == 1
    desk.retries.aclose()


@pytest.mark.asyncio
async def test_under_a_key_nobody_has_to_stay() -> None:
    desk, house, outlet = Repeats(), House(Reply(b"one", b"two")), Outlet()
    reply = await opened(desk, house, Asked("k", None), outlet)
    outlet.on_gone()
    assert await reply.next() == b"one"
    (await opened(desk, House(), Asked("k", None))).close()
    assert outlet.cancelled == 0
    assert await drained(reply) == b"two"
    await desk.aclose()


@pytest.mark.asyncio
async def test_joining_is_undone_when_the_call_fails_before_its_head() -> None:
    flight = Flight("n", "h")
    waiting = asyncio.create_task(joined(flight, call()))
    await asyncio.sleep(0)
    assert flight.joined == 1
    flight.fail(UpstreamError(Fault.CONNECT, "nobody"))
    with pytest.raises(UpstreamError):
        await waiting
    assert flight.joined == 0


@pytest.mark.asyncio
async def test_fingerprints() -> None:
    def form(picture: bytes, text: str = '"2"') -> Any:
        made = call()
        made.raw = b""
        made.fields = {"scale": text.encode(), "image": b'"file"'}
        made.request = EditOrder(model="m", prompt="p", images=[Payload(picture)])
        return made

    plain = await fingerprint(call())
    assert plain == await fingerprint(call())
    assert plain != await fingerprint(call(temperature=1))
    assert await fingerprint(form(b"a")) == await fingerprint(form(b"a"))
    large = b"a" * (_replay.HASH_HERE + 1)
    prints = {await fingerprint(made) for made in (form(b"a"), form(b"b"), form(b"a", '"4"'), form(large))}
    assert len(prints) == 4
    upload = form(b"a")
    upload.request, upload.upload = None, {"file": [Payload(b"sound")]}
    assert await fingerprint(upload) not in prints
