"""Several exchanges for one call."""

import asyncio

import pytest

from adapters.together import together
from proxy.errors import Fault, UpstreamError

pytestmark = pytest.mark.asyncio


async def test_together_is_in_order_and_ends_with_the_first_failure() -> None:
    ended: list[str] = []

    async def good(name: str) -> str:
        try:
            await asyncio.sleep(0)
        finally:
            ended.append(name)
        return name

    async def endless() -> str:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("endless")
        raise AssertionError

    async def bad() -> str:
        raise UpstreamError(Fault.SERVER, "first")

    assert await together([lambda: good("a"), lambda: good("b"), lambda: good("c")]) == ["a", "b", "c"]
    ended.clear()
    with pytest.raises(UpstreamError, match="first"):
        await together([endless, bad, endless])
    assert ended == ["endless"] * 2


async def test_no_more_than_so_many_are_under_way() -> None:
    running = most = 0

    async def work() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    await together([work] * 9, at_once=3)
    assert most == 3
