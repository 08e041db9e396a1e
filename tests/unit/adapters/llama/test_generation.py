"""The buffer between steps and a consumer."""

import asyncio

import pytest

from adapters.llama.frames import Reply
from adapters.llama.generation import Generation, Query
from adapters.llama.spec import Delta, Generate, Usage
from adapters.llama.text import Text
from proxy.errors import Fault, UpstreamError


def _make() -> tuple[Generation, list[Generation]]:
    cancelled: list[Generation] = []
    return Generation(1, Generate(prompt="x"), cancelled.append), cancelled


@pytest.mark.asyncio
async def test_deltas_come_once_in_order_and_then_none() -> None:
    generation, _ = _make()
    waiting = asyncio.create_task(generation.next())
    await asyncio.sleep(0)
    first, second, last = (Delta(0, [Text(letter)]) for letter in "abc")
    generation.feed(first)
    assert await waiting == [first]
    generation.feed(second)
    generation.feed(last)
    generation.finish(Usage(1, 3))
    assert generation.usage == Usage(1, 3), "usage is there with the last deltas"
    assert await generation.next() == [second, last]
    assert await generation.next() is None
    assert await generation.next() is None


@pytest.mark.asyncio
async def test_an_error_comes_after_what_was_there() -> None:
    generation, _ = _make()
    generation.feed(Delta(0, [Text("a")]))
    generation.fail(UpstreamError(Fault.CUT, "gone"))
    assert await generation.next()
    for _ in range(2):
        with pytest.raises(UpstreamError, match="gone"):
            await generation.next()


@pytest.mark.asyncio
async def test_cancel_wakes_the_consumer_and_is_told_once() -> None:
    generation, cancelled = _make()
    waiting = asyncio.create_task(generation.next())
    await asyncio.sleep(0)
    generation.cancel()
    generation.cancel()
    assert await waiting is None
    assert cancelled == [generation]


@pytest.mark.asyncio
async def test_cancel_after_the_end_is_nothing() -> None:
    generation, cancelled = _make()
    generation.finish(Usage(1, 1))
    generation.cancel()
    assert cancelled == []


@pytest.mark.asyncio
async def test_a_consumer_that_gives_up_waiting_loses_nothing() -> None:
    generation, _ = _make()
    waiting = asyncio.create_task(generation.next())
    await asyncio.sleep(0)
    waiting.cancel()
    generation.feed(Delta(0, [Text("a")]))
    await asyncio.gather(waiting, return_exceptions=True)
    assert await generation.next() == [Delta(0, [Text("a")])]


@pytest.mark.asyncio
async def test_beginning_again_forgets_what_nobody_had() -> None:
    generation, _ = _make()
    generation.admitted = True
    generation.feed(Delta(0, [Text("a")]))
    generation.begin_again()
    assert (generation.replays, generation.admitted, generation.delivered) == (1, False, False)
    generation.feed(Delta(0, [Text("b")]))
    assert await generation.next() == [Delta(0, [Text("b")])]
    assert generation.delivered


@pytest.mark.asyncio
async def test_what_flows_comes_at_once_and_in_order() -> None:
    generation, _ = _make()
    first, second, last = (Delta(0, [Text(letter)]) for letter in "abc")
    seen: list[list[Delta]] = []
    generation.feed(first)
    flowing = asyncio.create_task(generation.flow(lambda deltas: seen.append(deltas) or True))
    await asyncio.sleep(0)
    assert seen == [[first]]
    generation.feed(second)
    assert seen == [[first], [second]], "no task had to be woken"
    generation.feed(last)
    generation.finish(Usage(1, 3))
    await flowing
    assert seen == [[first], [second], [last]]
    assert await generation.next() is None


@pytest.mark.asyncio
async def test_a_sink_that_is_full_gets_no_more_until_it_asks() -> None:
    generation, _ = _make()
    seen: list[Delta] = []

    def sink(deltas: list[Delta]) -> bool:
        seen.extend(deltas)
        return len(seen) % 2 == 1

    one, two, three, four = (Delta(0, [Text(letter)]) for letter in "abcd")
    flowing = asyncio.create_task(generation.flow(sink))
    await asyncio.sleep(0)
    for delta in (one, two, three):
        generation.feed(delta)
    assert seen == [one, two]
    await flowing
    flowing = asyncio.create_task(generation.flow(sink))
    await asyncio.sleep(0)
    assert seen == [one, two, three]
    generation.feed(four)
    await flowing
    assert seen == [one, two, three, four]
    generation.finish(Usage(1, 4))
    await generation.flow(sink)
    assert seen == [one, two, three, four]


@pytest.mark.asyncio
async def test_an_error_and_a_cancel_end_the_flow() -> None:
    generation, _ = _make()
    flowing = asyncio.create_task(generation.flow(lambda deltas: True))
    await asyncio.sleep(0)
    generation.feed(Delta(0, [Text("a")]))
    generation.fail(UpstreamError(Fault.CUT, "gone"))
    with pytest.raises(UpstreamError, match="gone"):
        await flowing
    assert generation.delivered
    generation, cancelled = _make()
    flowing = asyncio.create_task(generation.flow(lambda deltas: True))
    await asyncio.sleep(0)
    generation.cancel()
    await flowing
    assert cancelled == [generation]


@pytest.mark.asyncio
async def test_who_stops_waiting_for_the_flow_is_given_nothing() -> None:
    generation, _ = _make()
    seen: list[list[Delta]] = []
    flowing = asyncio.create_task(generation.flow(lambda deltas: seen.append(deltas) or True))
    await asyncio.sleep(0)
    flowing.cancel()
    await asyncio.gather(flowing, return_exceptions=True)
    generation.feed(Delta(0, [Text("a")]))
    assert seen == []
    assert await generation.next() == [Delta(0, [Text("a")])]


@pytest.mark.asyncio
async def test_a_query_is_answered_once() -> None:
    query = Query(1, "render", Generate(prompt="x"))
    query.finish(Reply(1, text="a"))
    query.finish(Reply(1, text="b"))
    query.fail(UpstreamError(Fault.SERVER, "late"))
    assert (await query.answer).text == "a"
