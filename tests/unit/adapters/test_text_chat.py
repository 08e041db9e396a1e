"""A chat from bare texts: frames, a body, stops, thoughts, usage."""

import json

import pytest

from adapters.text_chat import TextChat, reply_of
from fakes.calls import chat_call, drained
from proxy.call import Call, Ending, Target, Usage, UsageSource
from proxy.errors import Fault, UpstreamError

TARGET = Target("up", "there")


class Script:
    """Texts from a list; an exception in it is raised."""

    def __init__(self, *texts: str | Exception, usage: Usage | None = None, full: bool | None = None) -> None:
        self.texts = list(texts)
        self.usage, self.full = usage, full
        self.closed = 0

    async def read(self) -> str:
        text = self.texts.pop(0) if self.texts else ""
        if isinstance(text, Exception):
            raise text
        return text

    def note(self) -> str:
        return "scripted"

    def close(self) -> None:
        self.closed += 1


def chunks(body: bytes) -> list[dict[str, object]]:
    events = body.decode().split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    return [json.loads(event.removeprefix("data: ")) for event in events[:-2]]


async def said(call: Call, texts: Script, **more: object) -> tuple[bytes, object]:
    reply = await reply_of(call, TextChat(call, texts, **more), texts)  # type: ignore[arg-type]
    return await drained(reply), reply


@pytest.mark.asyncio
async def test_a_stream_of_thoughts_and_text() -> None:
    call = chat_call(TARGET, stream=True, stream_options={"include_usage": True})
    body, reply = await said(call, Script("<thi", "nk>hm</th", "ink>\n", "yes", usage=Usage(3, 4)))
    rows = chunks(body)
    deltas = [row["choices"][0]["delta"] for row in rows if row["choices"]]  # type: ignore[index]
    assert deltas == [
        {"role": "assistant", "content": "", "reasoning_content": "hm"},
        {"content": "yes"},
        {},
    ]
    assert rows[-1]["usage"] == {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    assert reply.ending is Ending.FINISHED  # type: ignore[attr-defined]


@pytest.mark.asyncio
async def test_a_whole_answer_is_estimated_where_nobody_counted() -> None:
    body, reply = await said(chat_call(TARGET), Script("one ", "two"))
    answer = json.loads(body)
    assert answer["choices"][0]["message"]["content"] == "one two"
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert reply.usage.source is not UsageSource.UPSTREAM  # type: ignore[attr-defined]
    assert answer["usage"]["completion_tokens"] > 0


@pytest.mark.asyncio
async def test_a_stop_closes_the_source_at_once() -> None:
    texts = Script("a", "b END", " c", "d")
    body, _ = await said(chat_call(TARGET, stop=["END"]), texts)
    assert json.loads(body)["choices"][0]["message"]["content"] == "ab "
    assert texts.closed
    assert texts.texts == [" c", "d"]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("full", "made", "finish"), [(None, 5, "length"), (None, 4, "stop"), (True, 1, "length"), (False, 9, "stop")]
)
async def test_why_it_ended(full: bool | None, made: int, finish: str) -> None:
    body, _ = await said(chat_call(TARGET), Script("x", usage=Usage(1, made), full=full), limit=5)
    assert json.loads(body)["choices"][0]["finish_reason"] == finish


@pytest.mark.asyncio
@pytest.mark.parametrize("stream", [False, True])
async def test_a_failure_before_the_first_frame_is_raised_and_closes(stream: bool) -> None:
    texts = Script(UpstreamError(Fault.SERVER, "no", accepted=True))
    with pytest.raises(UpstreamError):
        await said(chat_call(TARGET, stream=stream), texts)
    assert texts.closed


@pytest.mark.asyncio
async def test_an_echo_is_taken_off_and_an_empty_answer_is_one() -> None:
    body, _ = await said(chat_call(TARGET, stream=True), Script("pro", "mpt"), echo="prompt")
    assert [row["choices"][0]["delta"] for row in chunks(body)] == [{"role": "assistant", "content": ""}]  # type: ignore[index]
