"""The sentence, killed at every step: the permit is settled exactly once, and the reply is always closed."""

import asyncio
from typing import Any

import pytest

from proxy.account import Metered
from proxy.call import ANYBODY, Call, Dialect, Ending, Operation, Served
from proxy.errors import Fault, ModelUnknown, RateExceeded, UpstreamError
from proxy.pipeline import House, run


class Permit:
    """Keeps what happened to it; like every permit, only the first has an effect."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Ending]] = []
        self.settling: asyncio.Event | None = None
        self.headers: list[tuple[str, str]] = []

    @property
    def effects(self) -> list[tuple[str, Ending]]:
        return self.calls[:1]

    def cancel(self, ending: Ending) -> None:
        self.calls.append(("cancel", ending))

    async def settle(self, served: Served) -> None:
        if self.settling is not None:
            self.settling.set()
            await asyncio.Event().wait()
        self.calls.append(("settle", served.ending))

    def abandon(self, served: Served) -> None:
        self.calls.append(("abandon", served.ending))


class Reply:
    """Frames, errors, or a wait for ever (None)."""

    status, content_type, usage = 200, "text/event-stream", None

    def __init__(self, *frames: Any) -> None:
        self.frames = list(frames)
        self.ending: Ending | None = None
        self.closed = 0
        self.headers: list[tuple[str, str]] = []
        self.waiting = asyncio.Event()

    async def next(self) -> bytes:
        frame = self.frames.pop(0)
        if frame is None:
            self.waiting.set()
            await asyncio.Event().wait()
        if isinstance(frame, BaseException):
            raise frame
        if not self.frames:
            self.ending = Ending.FINISHED
        return frame

    def close(self) -> None:
        self.closed += 1


class Stage:
    """One fake for resolver, gate and dispatcher: gives what it was told to, raises it, or waits for ever."""

    def __init__(self, result: Any) -> None:
        self.result = result
        self.reached = asyncio.Event()
        self.health: Any = None

    def plan(self, call: Call) -> Any:
        return self._done()

    async def admit(self, call: Call) -> Any:
        return await self._waited()

    async def open(self, call: Call) -> Any:
        return await self._waited()

    async def _waited(self) -> Any:
        self.reached.set()
        if self.result is None:
            await asyncio.Event().wait()
        return self._done()

    def _done(self) -> Any:
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


class Books:
    def metered(self, reply: Any, permit: Any) -> Metered:
        return Metered(reply, permit)


def call() -> Call:
    return Call(
        id="c", operation=Operation.CHAT, dialect=Dialect.OPENAI, request=None, raw=b"", fields={}, principal=ANYBODY
    )


def house(permit: Any, reply: Any, plan: Any = "plan") -> House:
    nothing: Any = None
    return House(
        config=nothing,
        catalogue=nothing,
        cards={},
        resolver=Stage(plan),
        measures=nothing,
        gate=Stage(permit),
        dispatcher=Stage(reply),
        books=Books(),
        adapters={},
    )


CUT = UpstreamError(Fault.CUT, "cut")


@pytest.mark.asyncio
async def test_a_call_that_finishes() -> None:
    permit, reply = Permit(), Reply(b"a", b"b", b"")
    metered = await run(call(), house(permit, reply))
    assert [await metered.next() for _ in range(3)] == [b"a", b"b", b""]
    assert permit.calls == [("settle", Ending.FINISHED)]
    metered.close()
    metered.close()
    assert permit.calls == [("settle", Ending.FINISHED)]
    assert metered.frames == 2
    assert reply.closed == 2


@pytest.mark.asyncio
async def test_the_permit_is_settled_before_the_last_frame_is_given() -> None:
    permit, reply = Permit(), Reply(b"only")
    metered = await run(call(), house(permit, reply))
    assert permit.calls == []
    assert await metered.next() == b"only"
    assert permit.calls == [("settle", Ending.FINISHED)]


@pytest.mark.asyncio
async def test_nothing_is_admitted_where_nothing_is_planned() -> None:
    permit = Permit()
    with pytest.raises(ModelUnknown):
        await run(call(), house(permit, Reply(b"a"), ModelUnknown("no")))
    assert permit.calls == []


@pytest.mark.asyncio
async def test_a_refusal_at_the_gate_reaches_nobody() -> None:
    built = house(RateExceeded("slow"), Reply(b"a"))
    with pytest.raises(RateExceeded):
        await run(call(), built)
    assert not built.dispatcher.reached.is_set()  # type: ignore[attr-defined]


@pytest.mark.asyncio
@pytest.mark.parametrize("error", [CUT, RuntimeError("a bug")])
async def test_opening_fails(error: BaseException) -> None:
    permit = Permit()
    with pytest.raises(type(error)):
        await run(call(), house(permit, error))
    assert permit.calls == [("cancel", Ending.FAILED)]


async def killed(task: "asyncio.Task[Any]", at: asyncio.Event) -> None:
    await asyncio.wait_for(at.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.asyncio
async def test_the_client_leaves_at_the_gate() -> None:
    built = house(None, Reply(b"a"))
    await killed(asyncio.create_task(run(call(), built)), built.gate.reached)  # type: ignore[attr-defined]
    assert not built.dispatcher.reached.is_set()  # type: ignore[attr-defined]


@pytest.mark.asyncio
async def test_the_client_leaves_while_it_is_opened() -> None:
    permit = Permit()
    built = house(permit, None)
    await killed(asyncio.create_task(run(call(), built)), built.dispatcher.reached)  # type: ignore[attr-defined]
    assert permit.calls == [("cancel", Ending.CANCELLED)]


@pytest.mark.asyncio
@pytest.mark.parametrize("error", [CUT, RuntimeError("a bug")])
async def test_a_frame_fails(error: Exception) -> None:
    permit, reply = Permit(), Reply(b"a", error)
    metered = await run(call(), house(permit, reply))
    await metered.next()
    with pytest.raises(type(error)):
        await metered.next()
    metered.close()
    assert permit.calls == [("abandon", Ending.FAILED)]
    assert reply.closed == 1


@pytest.mark.asyncio
async def test_the_client_leaves_between_frames() -> None:
    permit, reply = Permit(), Reply(b"a", None)
    metered = await run(call(), house(permit, reply))
    await metered.next()
    await killed(asyncio.create_task(metered.next()), reply.waiting)
    assert permit.calls == []
    metered.close()
    metered.close()
    assert permit.calls == [("abandon", Ending.CANCELLED)]


@pytest.mark.asyncio
async def test_the_client_leaves_while_the_books_are_written() -> None:
    """The settlement was cut off: the call is booked all the same, as what it was."""
    permit, reply = Permit(), Reply(b"a")
    permit.settling = asyncio.Event()
    metered = await run(call(), house(permit, reply))
    await killed(asyncio.create_task(metered.next()), permit.settling)
    metered.close()
    assert permit.calls == [("abandon", Ending.FINISHED)]


@pytest.mark.asyncio
async def test_closed_before_the_first_frame() -> None:
    permit, reply = Permit(), Reply(b"a")
    metered = await run(call(), house(permit, reply))
    metered.close()
    assert permit.calls == [("abandon", Ending.CANCELLED)]
    assert reply.closed == 1


def test_a_house_is_empty_once_its_last_call_left() -> None:
    built = house(None, None)
    emptied: list[int] = []
    built.enter()
    built.enter()
    built.leave()
    built.empty = lambda: emptied.append(built.running)
    built.leave()
    assert emptied == [0]
