"""When writes that wait for the end of the turn are made."""

import asyncio
from typing import Any

import pytest

from proxy.cork import Cork, cork_of

pytestmark = pytest.mark.asyncio


async def test_all_of_a_turn_at_its_end_in_their_order() -> None:
    cork, done = cork_of(asyncio.get_running_loop()), []
    for number in range(3):
        cork.add(lambda number=number: done.append(number))
    asyncio.get_running_loop().call_soon(lambda: done.append("behind"))
    assert done == []
    await asyncio.sleep(0)
    assert done == [0, 1, 2, "behind"]


async def test_what_comes_while_it_writes_is_for_the_next_turn() -> None:
    cork, done = cork_of(asyncio.get_running_loop()), []

    def first() -> None:
        done.append("first")
        cork.add(lambda: done.append("second"))

    cork.add(first)
    await asyncio.sleep(0)
    assert done == ["first"]
    await asyncio.sleep(0)
    assert done == ["first", "second"]


async def test_one_that_fails_is_reported_and_the_others_are_made() -> None:
    told: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(context))
    cork, done = Cork(loop), []
    cork.add(lambda: 1 // 0)
    cork.add(lambda: done.append("made"))
    await asyncio.sleep(0)
    assert done == ["made"]
    assert [type(context["exception"]) for context in told] == [ZeroDivisionError]


async def test_a_loop_has_one() -> None:
    loop = asyncio.get_running_loop()
    assert cork_of(loop) is cork_of(loop)
    other = asyncio.new_event_loop()
    assert cork_of(other) is not cork_of(loop)
    other.close()
