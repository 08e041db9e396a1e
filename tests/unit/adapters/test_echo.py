"""The upstream that repeats: both shapes, usage, limits, and a stream that is over exactly at [DONE]."""

import json
from typing import Any

import pytest

from adapters.echo import Echo, build
from adapters.options import EchoOptions
from fakes.chats import chat
from proxy.call import Call, Ending, Target, UsageSource
from proxy.stream import DONE, events

HERE = Target("echo", "any")


async def frames(call: Call) -> tuple[list[Any], Any]:
    reply = await build("echo", EchoOptions()).open(call, HERE)
    out = b""
    while reply.ending is None:
        out += await reply.next()
    assert out.endswith(DONE)
    reply.close()
    return [json.loads(event.data or b"") for event in events(out.removesuffix(DONE))], reply


@pytest.mark.asyncio
async def test_whole() -> None:
    reply = await Echo("echo", EchoOptions(delay_s=0.001)).open(chat("one  two three"), HERE)
    answer = json.loads(await reply.next())
    assert reply.ending is Ending.FINISHED
    (choice,) = answer["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("one two three", "stop")
    assert (answer["model"], answer["object"]) == ("ours", "chat.completion")
    assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6}
    assert reply.usage is not None
    assert reply.usage.source is UsageSource.ESTIMATE


@pytest.mark.asyncio
@pytest.mark.parametrize("wanted", [False, True], ids=["", "usage"])
async def test_stream(wanted: bool) -> None:
    options = {"stream_options": {"include_usage": True}} if wanted else {}
    chunks, reply = await frames(chat("one two", stream=True, **options))
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks if c["choices"]) == "one two"
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert [c["choices"][0]["finish_reason"] for c in chunks if c["choices"]] == [None, None, None, "stop"]
    assert all(("usage" in c) is wanted for c in chunks)
    assert [c["usage"]["total_tokens"] for c in chunks if c.get("usage")] == ([4] if wanted else [])
    assert reply.usage.completion_tokens == 2


@pytest.mark.asyncio
@pytest.mark.parametrize(("limit", "said", "finish"), [(1, "one", "length"), (2, "one two", "stop"), (0, "", "length")])
async def test_a_limit_is_kept(limit: int, said: str, finish: str) -> None:
    reply = await Echo("echo", EchoOptions()).open(chat("one two", max_tokens=limit), HERE)
    (choice,) = json.loads(await reply.next())["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == (said, finish)


@pytest.mark.asyncio
async def test_probe() -> None:
    echo = build("echo", EchoOptions())
    assert "repeats" in await echo.probe()
    await echo.aclose()
