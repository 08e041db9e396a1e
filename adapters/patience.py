"""A stream whose beginning takes its time (a model loads, a job queues): after a while the caller gets comments that tell
how it goes. Until then a failure is still a status; after that it is an error event, since the answer has begun.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from adapters.replies import Source, Stream, Whole
from proxy.call import Ending, Usage
from proxy.stream import comment

COMMIT_AFTER_S = 15.0
EVERY_S = 5.0

Opened = tuple[Source, bytes]


async def opened(
    opening: Coroutine[Any, Any, Opened], say: Callable[[], str], *, commit_after_s: float = COMMIT_AFTER_S
) -> Stream:
    """The stream that `opening` gives, or, if it takes longer than `commit_after_s`, one that begins with comments."""
    task = asyncio.get_running_loop().create_task(opening)
    try:
        done, _ = await asyncio.wait({task}, timeout=commit_after_s)
    except asyncio.CancelledError:
        _abandon(task)
        raise
    if done:
        source, first = task.result()
        return Stream(source, first)
    return Stream(Waiting(task, say), comment(say()))


async def awaited(
    making: Coroutine[Any, Any, Whole], say: Callable[[], str], *, commit_after_s: float = COMMIT_AFTER_S
) -> Stream:
    """As `opened`, for an answer that comes in one piece although a stream was asked for: its events all at once."""
    headers: list[tuple[str, str]] = []

    async def opening() -> Opened:
        whole = await making
        headers.extend(whole.headers)
        return Spent(whole.usage), await whole.next()

    stream = await opened(opening(), say, commit_after_s=commit_after_s)
    stream.headers += headers  # those of an answer that came after the first comment are too late
    return stream


class Spent:
    """A Source whose only piece was given away with it."""

    __slots__ = ("ending", "usage")

    def __init__(self, usage: Usage | None) -> None:
        self.usage = usage
        self.ending: Ending | None = Ending.FINISHED

    async def read(self) -> bytes:
        return b""

    def close(self) -> None:
        return None


def _abandon(task: "asyncio.Task[Opened]") -> None:
    """Cancel an opening; one that succeeds all the same is closed."""
    task.add_done_callback(_close_result)
    task.cancel()


def _close_result(task: "asyncio.Task[Opened]") -> None:
    if not task.cancelled() and task.exception() is None:
        task.result()[0].close()


class Waiting:
    """A Source that comments until the real one is there."""

    __slots__ = ("_say", "_source", "_task")

    def __init__(self, task: "asyncio.Task[Opened]", say: Callable[[], str]) -> None:
        self._task = task
        self._say = say
        self._source: Source | None = None

    @property
    def ending(self) -> Ending | None:
        return None if self._source is None else self._source.ending

    @property
    def usage(self) -> Usage | None:
        return None if self._source is None else self._source.usage

    async def read(self) -> bytes:
        if self._source is not None:
            return await self._source.read()
        done, _ = await asyncio.wait({self._task}, timeout=EVERY_S)
        if not done:
            return comment(self._say())
        self._source, first = self._task.result()
        return first

    def close(self) -> None:
        if self._source is not None:
            self._source.close()
        elif self._task.done():
            _close_result(self._task)
        else:
            _abandon(self._task)
