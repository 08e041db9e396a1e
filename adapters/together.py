"""Several exchanges for one call, side by side: all of them, or the first failure."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


async def together(works: Sequence[Callable[[], Awaitable[T]]], *, at_once: int = 32) -> list[T]:
    """The results of all, in order, at most `at_once` under way; the first that fails ends the others and is raised as it is."""
    if len(works) == 1:
        return [await works[0]()]
    room = asyncio.Semaphore(at_once)

    async def run(work: Callable[[], Awaitable[T]]) -> T:
        async with room:
            return await work()

    tasks = [asyncio.get_running_loop().create_task(run(work)) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in tasks:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error
        return [task.result() for task in tasks]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
