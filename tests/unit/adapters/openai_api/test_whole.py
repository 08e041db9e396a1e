"""An answer in one piece: read, mended, and told as a stream."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.openai_api import whole
from proxy.errors import Fault, UpstreamError
from proxy.stream import events
from proxy.wire.body import encode

ANSWER: dict[str, Any] = {
    "id": "c-1",
    "object": "chat.completion",
    "created": 7.5,
    "model": "theirs",
    "system_fingerprint": None,
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop", "stop_reason": 3}
    ],
    "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    "timings": {"ms": 1},
}


def made(answer: dict[str, Any], *, strip: bool = False) -> dict[str, Any]:
    return whole.completion(answer, model="ours", call_id="x", upstream="up", strip_thinking=strip)[0]


def message(**fields: Any) -> dict[str, Any]:
    return {**ANSWER, "choices": [{"index": 0, "message": fields, "finish_reason": "stop"}]}


def test_a_good_answer_stays_what_it_is() -> None:
    out, usage = whole.completion(ANSWER, model="ours", call_id="x", upstream="up", strip_thinking=False)
    assert usage is not None
    assert usage.total_tokens == 3
    assert "system_fingerprint" not in out
    assert (out["id"], out["created"], out["model"], out["timings"]) == ("c-1", 7, "ours", {"ms": 1})
    (choice,) = out["choices"]
    assert choice["stop_reason"] == 3
    assert choice["logprobs"] is None
    assert choice["message"] == {"role": "assistant", "content": "hi"}


def test_accents_are_mended() -> None:
    calls = [
        {"id": "a", "function": {"name": "f", "arguments": {"x": 1}}, "index": 4},
        {"id": "a", "function": {"name": "f", "arguments": "{}"}},
    ]
    (choice,) = made(message(content=None, reasoning="hm", tool_calls=calls))["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["reasoning_content"] == "hm"
    assert "reasoning" not in choice["message"]
    assert [call["function"]["arguments"] for call in choice["message"]["tool_calls"]] == ['{"x":1}', "{}"]
    assert all(call["id"] == "a" and call["type"] == "function" for call in choice["message"]["tool_calls"])
    assert made({"choices": ANSWER["choices"]})["id"] == "chatcmpl-x"


def test_thinking_is_stripped() -> None:
    (choice,) = made(message(content="<think>no</think>yes", reasoning_content="no"), strip=True)["choices"]
    assert choice["message"]["content"].strip() == "yes"
    assert "reasoning_content" not in choice["message"]


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b"\xff", b"[" * 100_000, b'"text"'])
def test_what_is_no_answer(body: bytes) -> None:
    with pytest.raises(UpstreamError) as caught:
        whole.decoded(body, "up")
    assert caught.value.fault is Fault.MALFORMED
    assert caught.value.accepted is True


def test_an_error_dressed_as_a_success() -> None:
    with pytest.raises(UpstreamError) as caught:
        whole.decoded(b'{"error":{"message":"full","type":"rate_limit_error"}}', "up")
    assert caught.value.status == 429
    assert whole.decoded(b'{"error":null,"choices":[]}', "up") == {"choices": []}


@pytest.mark.parametrize(
    "choices", [None, [], {}, "x", [1], [{}], [{"message": "x"}], [{"message": {"content": 5}}],
                [{"message": {}, "finish_reason": "error"}], [{"message": {"tool_calls": "f"}}]]
)  # fmt: skip
def test_answers_without_a_choice(choices: Any) -> None:
    with pytest.raises(UpstreamError):
        made({**ANSWER, "choices": choices})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
messages = st.dictionaries(st.sampled_from(["role", "content", "reasoning", "tool_calls", "refusal"]), json_values)
choices = st.lists(
    st.fixed_dictionaries(
        {}, optional={"message": messages | json_values, "finish_reason": json_values, "index": json_values}
    ),
    max_size=2,
)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(choices, st.fixed_dictionaries({}, optional={"id": json_values, "created": json_values, "usage": json_values}))
def test_no_shape_of_answer_is_a_crash(choices: list[Any], more: dict[str, Any]) -> None:
    try:
        out, _ = whole.completion(
            {"choices": choices, **more}, model="m", call_id="x", upstream="up", strip_thinking=True
        )
        whole.as_stream(out, wants_usage=True)
    except UpstreamError:
        return
    for choice in out["choices"]:
        assert choice["message"]["role"] == "assistant"
        assert isinstance(choice["index"], int)
    encode(out)


@pytest.mark.parametrize("wants", [False, True])
def test_as_stream(wants: bool) -> None:
    calls = [{"id": "a", "function": {"name": "f", "arguments": "{}"}}]
    out = made(message(content="hi", reasoning="hm", tool_calls=calls) | {"usage": ANSWER["usage"]})
    parts = events(whole.as_stream(out, wants_usage=wants))
    assert parts.pop().data == b"[DONE]"
    chunks = [json.loads(part.data or b"") for part in parts]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    said, last = chunks[0]["choices"][0], chunks[1]["choices"][0]
    assert said["delta"] | {"tool_calls": None} == {
        "role": "assistant", "content": "hi", "reasoning_content": "hm", "tool_calls": None}  # fmt: skip
    assert said["delta"]["tool_calls"][0]["index"] == 0
    assert said["finish_reason"] is None
    assert (last["delta"], last["finish_reason"]) == ({}, "tool_calls")
    if wants:
        assert all(chunk["usage"] is None for chunk in chunks[:-1])
        assert (chunks[-1]["choices"], chunks[-1]["usage"]) == ([], ANSWER["usage"])
    else:
        assert not any("usage" in chunk for chunk in chunks)
