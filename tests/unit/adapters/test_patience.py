"""A stream that begins late: a status until the caller's patience is over, comments after it, and nothing left open."""

import asyncio

import pytest

from adapters import patience
from adapters.patience import Waiting, awaited, opened
from adapters.replies import Source, Whole
from proxy.call import Ending, Usage
from proxy.errors import Fault, UpstreamError
from proxy.stream import comment


class Frames:
    def __init__(self) -> None:
        self.ending: Ending | None = None
        self.usage: Usage | None = None
        self.closed = 0

    async def read(self) -> bytes:
        self.ending, self.usage = Ending.FINISHED, Usage(1, 1)
        return b"data: last\n\n"

    def close(self) -> None:
        self.closed += 1


class Opening:
    """An opening that waits for `go`."""

    def __init__(self, error: Exception | None = None) -> None:
        self.source, self.go, self.error = Frames(), asyncio.Event(), error
        self.cancelled = False

    async def __call__(self, *, stubborn: bool = False) -> tuple[Source, bytes]:
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            if not stubborn:
                raise
        if self.error is not None:
            raise self.error
        return self.source, b"data: first\n\n"


def said() -> str:
    return "loading: 40%"


@pytest.mark.asyncio
async def test_what_opens_in_time_is_an_ordinary_stream() -> None:
    opening = Opening()
    opening.go.set()
    reply = await opened(opening(), said)
    assert [await reply.next(), await reply.next(), await reply.next()] == [b"data: first\n\n", b"data: last\n\n", b""]
    assert (reply.ending, reply.usage) == (Ending.FINISHED, Usage(1, 1))


@pytest.mark.asyncio
async def test_what_fails_in_time_is_a_status() -> None:
    opening = Opening(UpstreamError(Fault.MISSING, "no"))
    opening.go.set()
    with pytest.raises(UpstreamError):
        await opened(opening(), said)


@pytest.mark.asyncio
async def test_comments_until_it_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "EVERY_S", 0.001)
    opening = Opening()
    reply = await opened(opening(), said, commit_after_s=0.001)
    assert [await reply.next() for _ in range(3)] == [comment(said())] * 3
    assert (reply.ending, reply.usage) == (None, None)
    opening.go.set()
    while (frame := await reply.next()) == comment(said()):
        pass
    assert frame == b"data: first\n\n"
    assert await reply.next() == b"data: last\n\n"
    assert reply.ending is Ending.FINISHED
    reply.close()
    assert opening.source.closed == 1


@pytest.mark.asyncio
async def test_what_fails_late_is_raised_in_the_stream() -> None:
    opening = Opening(UpstreamError(Fault.MISSING, "no"))
    reply = await opened(opening(), said, commit_after_s=0.001)
    await reply.next()
    opening.go.set()
    with pytest.raises(UpstreamError):
        await reply.next()
    reply.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("stubborn", [False, True], ids=["is cancelled", "opens all the same, and is closed"])
@pytest.mark.parametrize("late", [False, True], ids=["while it waits", "between comments"])
async def test_a_caller_who_leaves_leaves_nothing_open(stubborn: bool, late: bool) -> None:
    opening = Opening()
    task = asyncio.create_task(opened(opening(stubborn=stubborn), said, commit_after_s=0.001 if late else 60))
    if late:
        reply = await task
        await reply.next()
        reply.close()
    else:
        await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        await asyncio.wait(others, timeout=5)
    await asyncio.sleep(0)
    assert opening.cancelled
    assert opening.source.closed == stubborn


@pytest.mark.asyncio
async def test_closing_once_it_is_open_and_was_not_read() -> None:
    opening = Opening()
    opening.go.set()
    task = asyncio.create_task(opening())
    await asyncio.wait({task})
    Waiting(task, said).close()
    assert opening.source.closed == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("late", [False, True])
async def test_an_answer_in_one_piece_is_waited_for_with_comments(late: bool) -> None:
    go = asyncio.Event()
    if not late:
        go.set()

    async def making() -> Whole:
        await go.wait()
        return Whole(b"data: picture\n\n", Usage(images=1), headers=[("x-flag", "true")])

    stream = await awaited(making(), said, commit_after_s=0.01)
    if late:
        assert await stream.next() == comment("loading: 40%")
        assert stream.ending is None
        go.set()
    assert await stream.next() == b"data: picture\n\n"
    assert (stream.ending, stream.usage) == (Ending.FINISHED, Usage(images=1))
    assert stream.headers == ([] if late else [("x-flag", "true")])
    assert await stream.next() == b""
    stream.close()


@pytest.mark.asyncio
async def test_an_answer_that_fails_in_time_is_a_status() -> None:
    async def making() -> Whole:
        raise UpstreamError(Fault.SERVER, "no")

    with pytest.raises(UpstreamError):
        await awaited(making(), said)
