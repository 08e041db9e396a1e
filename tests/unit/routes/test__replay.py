"""Who joins whose call, what is kept of it, and when it outlives its client."""

import asyncio
import gzip
import math
import time
from typing import Any

import brotli
import pytest

from fakes.calls import chat_call
from proxy.call import Ending, Target
from proxy.errors import BadRequest, Conflict, Fault, Unavailable, UpstreamError
from proxy.idempotency import Flight
from proxy.media.payload import Payload
from proxy.wire.edits import EditOrder
from routes import _replay
from routes._outlet import pairs
from routes._replay import Asked, Joined, Recorded, Repeats, asked, fingerprint, joined
from routes._send import send_reply


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
        self.headers = [("x-of-the-upstream", "u")]

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
        call.told = b"x-ratelimit-limit-requests: 3\r\n"  # who is admitted hears of its limits
        reply = house.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply

    monkeypatch.setattr(_replay.pipeline, "run", opened)


class Outlet:
    """What was sent, and whether the call was cancelled."""

    on_gone: Any = None
    cancelled = 0
    written = 0
    takes = True  # frames without waiting

    def __init__(self) -> None:
        self.body = b""
        self.headers: dict[str, str] = {}
        self.ended = asyncio.Event()

    def cancel(self) -> None:
        self.cancelled += 1
        self.ended.set()

    def unwatch(self) -> None:
        pass

    async def whole(self, status: int, headers: Any, body: bytes, lines: bytes = b"") -> None:
        await self.begin(status, headers, lines)
        self.body = body

    async def begin(self, status: int, headers: Any, lines: bytes = b"") -> None:
        self.headers = {name.decode(): value.decode() for name, value in [*headers, *pairs(lines)]}

    async def put(self, data: bytes) -> None:
        self.body += data

    def offer(self, data: bytes) -> bool:
        if self.takes:
            self.body += data
        return self.takes

    async def end(self, data: bytes) -> None:
        self.body += data


def call(**more: Any) -> Any:
    return chat_call(Target("up", "m"), **more)


async def opened(desk: Repeats, house: Any, said: Asked, outlet: Any = None, **more: Any) -> Any:
    """The reply, for calls under a key."""
    return (await desk.open(said, call(**more), house, outlet or Outlet(), "/v1/x"))[0]


async def sent(desk: Repeats, house: Any, said: Asked, *, accepts: str | None = None, **more: Any) -> Outlet:
    """What left for the client."""
    outlet, made = Outlet(), call(**more)
    reply, way = await desk.open(said, made, house, outlet, "/v1/x")  # type: ignore[arg-type]
    try:
        await send_reply(made, reply, way, accepts, 60)
    finally:
        way.unwatch()
    return outlet


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
        ([(b"x-stainless-retry-count", b"0"), (b"x-stainless-read-timeout", b"2.5")], Asked(None, 0, 2.5)),
        ([(b"x-stainless-retry-count", b"0"), (b"x-stainless-timeout", b"3")], Asked(None, 0, 3.0)),
        ([(b"x-stainless-retry-count", b"0"), (b"x-stainless-timeout", b"-3")], Asked(None, 0)),
        ([(b"x-stainless-retry-count", b"0"), (b"x-stainless-timeout", b"soon")], Asked(None, 0)),
        ([(b"x-stainless-retry-count", b"0"), (b"x-stainless-timeout", b"nan")], Asked(None, 0)),
        ([(b"x-stainless-timeout", b"3")], None),
        ([(b"x-stainless-retry-count", b"-1")], None),
        ([(b"x-stainless-retry-count", b"99999")], None),
        ([(b"idempotency-key", b" a ")], Asked("a", None)),
        ([(b"idempotency-key", b"a"), (b"x-stainless-retry-count", b"1")], Asked("a", 1)),
    ],
)
def test_what_a_request_says(headers: Any, said: Asked | None) -> None:
    assert asked(dict(headers)) == said


def test_a_key_is_ascii() -> None:
    with pytest.raises(BadRequest):
        asked({b"idempotency-key": b"\xff"})


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
    assert late.headers == [
        ("x-of-the-upstream", "u"), ("x-ratelimit-limit-requests", "3"), ("idempotent-replayed", "true")
    ]  # fmt: skip
    assert house.opened == 1
    await desk.aclose()


@pytest.mark.asyncio
async def test_frames_that_flow_are_kept_as_well() -> None:
    class Flowing(Reply):
        async def flow(self, write: Any, _lane: Any = None) -> bytes:
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
    told: list[str] = []
    desk, house = Repeats(0, told.append), House(*[Reply(b"%d" % number) for number in range(5)])
    for _ in range(2):  # equal first tries are two calls
        await sent(desk, house, Asked(None, 0))
    again = [await sent(desk, house, Asked(None, 1)) for _ in range(3)]
    assert [out.body for out in again] == [b"0", b"1", b"2"], "the third is nobody's retry: a call of its own"
    assert ["idempotent-replayed" in out.headers for out in again] == [True, True, False]
    assert (await sent(desk, house, Asked(None, 1), temperature=1)).body == b"3", "another body"
    assert (house.opened, told) == (4, ["retry"] * 2)
    await desk.aclose()


@pytest.mark.asyncio
async def test_a_streams_retry_has_every_frame_whichever_way_it_left() -> None:
    class Flowing(Reply):
        async def flow(self, write: Any, _lane: Any = None) -> bytes:
            while len(self.frames) > 1 and write(self.frames[0]):
                self.frames.pop(0)
            return await self.next()

    for takes in (True, False):
        desk, house = Repeats(), House(Flowing(b"one ", b"two ", b"three ", b"four"))
        Outlet.takes = takes
        first, second = [await sent(desk, house, Asked(None, count)) for count in (0, 1)]
        assert first.body == second.body == b"one two three four"
        assert "x-ratelimit-limit-requests" in first.headers
        assert {name for name in second.headers if name in first.headers} == set(first.headers)
        assert {name: value for name, value in second.headers.items() if name in first.headers} == first.headers
        await desk.aclose()
    Outlet.takes = True


@pytest.mark.asyncio
@pytest.mark.parametrize("accepts", ["gzip", "br", None])
async def test_what_left_packed_is_packed_as_the_retry_likes_it(accepts: str | None) -> None:
    class Json(Reply):
        content_type = "application/json"

    body = b'{"a": "' + b"x" * 5000 + b'"}'
    desk, house = Repeats(), House(Json(body))
    first = await sent(desk, house, Asked(None, 0), accepts="gzip")
    assert (first.headers["content-encoding"], gzip.decompress(first.body)) == ("gzip", body)
    again = await sent(desk, house, Asked(None, 1), accepts=accepts)
    assert again.headers.get("content-encoding") == accepts
    unpack: Any = {"gzip": gzip.decompress, "br": brotli.decompress, None: bytes}
    assert unpack[accepts](again.body) == body
    await desk.aclose()


async def started(desk: Repeats, *frames: bytes) -> tuple[Any, Outlet]:
    """A counted stream whose head and first frame have left."""
    outlet = Outlet()
    reply, way = await desk.open(Asked(None, 0), call(), House(Reply(*frames)), outlet, "/v1/x")  # type: ignore[arg-type]
    await way.begin(200, [(b"content-type", b"text/event-stream")])
    await way.put(await reply.next())
    return way, outlet


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("hold_s", "after", "cancelled"), [(10, 0.7, False), (10, 0.9, True), (0, 0.0, True)], ids=["soon", "late", "never"]
)
async def test_whether_a_counted_call_outlives_its_client(hold_s: float, after: float, cancelled: bool) -> None:
    desk = Repeats(hold_s)
    way, outlet = await started(desk, b"one", b"two")
    way._trip.began -= after
    outlet.on_gone()
    assert outlet.cancelled == cancelled
    desk.retries.aclose()


@pytest.mark.asyncio
@pytest.mark.parametrize(("patience_s", "cancelled"), [(0.001, 0), (5.0, 1), (math.inf, 1)])
async def test_before_its_head_it_does_if_its_client_gave_up_waiting(patience_s: float, cancelled: int) -> None:
    desk, outlet = Repeats(10), Outlet()
    said = Asked(None, 0, patience_s)
    await desk.open(said, call(), House(Reply(b"one")), outlet, "/v1/x")  # type: ignore[arg-type]
    await asyncio.sleep(0.002)
    outlet.on_gone()
    assert outlet.cancelled == cancelled
    desk.retries.aclose()


@pytest.mark.asyncio
async def test_each_further_try_is_waited_for_longer() -> None:
    desk = Repeats(0.02)
    for count, least in ((0, 0.02), (1, 0.02), (2, 0.04), (3, 0.08)):
        way, outlet = await started(desk, b"one", b"two")
        way._trip.count = count
        began = time.monotonic()
        outlet.on_gone()
        await asyncio.wait_for(outlet.ended.wait(), 5)
        assert least <= time.monotonic() - began + 0.002
    desk.retries.aclose()


@pytest.mark.asyncio
async def test_nobody_came_back() -> None:
    desk = Repeats(0.02)
    _, outlet = await started(desk, b"one", b"two")
    outlet.on_gone()
    assert outlet.cancelled == 0
    await asyncio.sleep(0.06)
    assert outlet.cancelled == 1
    desk.retries.aclose()


@pytest.mark.asyncio
async def test_who_came_back_and_left_again_was_the_last() -> None:
    desk = Repeats(0.02)
    _, outlet = await started(desk, b"one", b"two", b"three")
    way = outlet.on_gone.__self__
    way._trip.began += 5
    outlet.on_gone()
    second = await opened(desk, None, Asked(None, 1))
    third = await opened(desk, None, Asked(None, 2))
    second.close()
    second.close()
    await asyncio.sleep(0.05)
    assert outlet.cancelled == 0
    third.close()
    assert outlet.cancelled == 0, "it may come a third time"
    await asyncio.wait_for(outlet.ended.wait(), 5)
    desk.retries.aclose()


@pytest.mark.asyncio
@pytest.mark.parametrize("where", ["before", "within"])
async def test_the_retry_of_a_counted_call_that_failed_is_a_call_of_its_own(where: str) -> None:
    broken = UpstreamError(Fault.OVERLOADED, "later")
    desk, house = Repeats(), House(broken if where == "before" else Reply(fails=broken), Reply(b"good"))
    with pytest.raises(UpstreamError):
        await sent(desk, house, Asked(None, 0))
    assert (await sent(desk, house, Asked(None, 1))).body == b"good"
    assert house.opened == 2
    await desk.aclose()


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
