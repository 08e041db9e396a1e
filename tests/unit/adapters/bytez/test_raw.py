"""Chats over raw text."""

import json
from typing import Any

import pytest

from adapters.bytez.raw import params_of, prompt_of
from fakes.bytezes import V1, bytez
from fakes.calls import chat_call, drained
from fakes.doubles import faults
from fakes.doubles.clockwork import Pace
from proxy.call import Target, UsageSource
from proxy.errors import Fault, UpstreamError

HERE = Target("up", "openai-community/gpt2")


def test_parameters_by_the_names_they_have_there() -> None:
    call = chat_call(HERE, max_tokens=9, temperature=0.5, top_p=0.9, top_k=5, seed=3, stop=["x"])
    assert params_of(call) == ({"max_new_tokens": 9, "temperature": 0.5, "top_p": 0.9, "top_k": 5}, ["seed"])
    assert params_of(chat_call(HERE, temperature=0, top_k=0)) == ({"do_sample": False}, ["top_k"])


def test_a_prompt_by_the_template_that_was_configured() -> None:
    assert prompt_of(chat_call(HERE), None).text == "hello"
    assert prompt_of(chat_call(HERE), "chatml").text.startswith("<|im_start|>user")


def said(body: bytes) -> str:
    lines = [line[6:] for line in body.split(b"\n\n") if line.startswith(b"data: {")]
    return "".join(json.loads(line)["choices"][0]["delta"].get("content", "") for line in lines)


@pytest.mark.asyncio
@pytest.mark.parametrize("stream", [False, True])
async def test_a_chat_without_its_echo_and_with_whole_characters(stream: bool) -> None:
    async with bytez(V1) as (double, upstream):
        double.script(faults.shred(), path="/model/run")
        double.will(say=[" \u6e21\u3057", "\u8239 \U0001f6a4", "\n\nnext"])
        reply = await upstream.open(chat_call(HERE, stream=stream), HERE)
        body = await drained(reply)
        text = said(body) if stream else json.loads(body)["choices"][0]["message"]["content"]
        assert text.strip() == "\u6e21\u3057\u8239 \U0001f6a4\n\nnext"
        assert reply.usage.source is not UsageSource.UPSTREAM


@pytest.mark.asyncio
async def test_a_stop_sequence_closes_the_connection() -> None:
    async with bytez(V1, pace=Pace(first=0.0, token=0.01, cold=0.0)) as (double, upstream):
        double.will(say=["a", " b", " STOP", *(" x" for _ in range(500))])
        body = json.loads(await drained(await upstream.open(chat_call(HERE, stop="STOP"), HERE)))
        assert body["choices"][0]["message"]["content"].strip() == "a b"
        assert await double.seen("POST", "/model/run")[0].over() == "client_closed"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (faults.answer(200, {"error": "CUDA out of memory", "output": None}), Fault.SERVER),
        (faults.answer(200, b"hello \xe6\xb8", {"content-type": "text/plain"}), Fault.CUT),
        (faults.answer(200, b"hello \xff\xff there", {"content-type": "text/plain"}), Fault.MALFORMED),
    ],
)
async def test_what_is_no_text(fault: faults.Fault, kind: Fault) -> None:
    async with bytez(V1) as (double, upstream):
        double.script(fault, path="/model/run")
        with pytest.raises(UpstreamError) as caught:
            await drained(await upstream.open(chat_call(HERE), HERE))
        assert caught.value.fault is kind


@pytest.mark.asyncio
async def test_a_cut_body_is_an_error() -> None:
    async with bytez(V1) as (double, upstream):
        double.script(faults.cut(9), path="/model/run")
        double.will(say=["one two three four five six seven eight nine ten"])
        with pytest.raises(UpstreamError) as caught:
            await drained(await upstream.open(chat_call(HERE, stream=True), HERE))
        assert caught.value.fault is Fault.CUT


@pytest.mark.asyncio
@pytest.mark.parametrize("text", ['{"answer": "yes"}', '{ "error": null } is what it said', "{", "   "])
async def test_a_text_that_looks_like_an_error_is_a_text(text: str) -> None:
    async with bytez(V1) as (double, upstream):
        answer: dict[str, Any] = {"content-type": "text/plain"}
        double.script(faults.answer(200, text.encode(), answer), path="/model/run")
        body = json.loads(await drained(await upstream.open(chat_call(HERE), HERE)))
        assert body["choices"][0]["message"]["content"].strip() == text.strip()


@pytest.mark.asyncio
async def test_a_text_that_came_whole_and_json_that_is_none() -> None:
    async with bytez(V1) as (double, upstream):
        said = {"output": [{"generated_text": "hello there"}]}
        double.script(faults.answer(200, said), path="/model/run")
        body = json.loads(await drained(await upstream.open(chat_call(HERE), HERE)))
        assert body["choices"][0]["message"]["content"].strip() == "there"  # behind the echo of what was asked
        for fault in (faults.garbage_json(), faults.empty_200(), faults.answer(200, {"output": [7]})):
            double.script(fault, path="/model/run")
            with pytest.raises(UpstreamError) as caught:
                await upstream.open(chat_call(HERE), HERE)
            assert caught.value.fault is Fault.MALFORMED
