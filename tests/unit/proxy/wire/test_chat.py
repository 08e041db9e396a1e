"""What both refuse, what only Venice refuses, and what a message says."""

import json
from typing import Any

import pytest

from proxy.errors import BadRequest
from proxy.wire.body import fields_of, head_of
from proxy.wire.chat import KNOWN, VENICE, ChatRequest, Message, Part, VeniceChatRequest, consistent, venice_only

HELLO = {"role": "user", "content": "hi"}


def raw(**more: Any) -> bytes:
    return json.dumps({"model": "m", "messages": [HELLO], **more}).encode()


def read(**more: Any) -> ChatRequest:
    request = head_of(raw(**more), ChatRequest)
    consistent(request)
    return request


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [HELLO, {"role": "user"}]}, "messages[1].content"),
        ({"messages": [{"role": "system", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages[0].content[0].type"),
        ({"model": ""}, "model"),
        ({"temperature": 2.5}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"n": 0}, "n"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"stop": ["x"] * 17}, "stop"),
        ({"top_logprobs": 21, "logprobs": True}, "top_logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "function", "function": {"name": ""}}]}, "tools[0].function.name"),
        ({"reasoning_effort": "hard"}, "reasoning_effort"),
        ({"venice_parameters": {"enable_web_serch": "on"}}, "venice_parameters.enable_web_serch"),
        ({"stream": "yes"}, "stream"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        (
            {"messages": [HELLO, {"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "messages[1].content[0].image_url.url",
        ),
    ],
)
def test_refused_by_name(more: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read(**more)
    assert caught.value.param == param


@pytest.mark.parametrize(
    "more",
    [
        {"messages": [{"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f"}}]}]},
        {"messages": [{"role": "assistant", "content": None, "vendor_key": 1}]},
        {"tools": [{"type": "web_search"}]},
        {"stop": "x", "seed": -1, "top_k": -1, "logprobs": True, "top_logprobs": 0},
        {"temperature": 0, "n": 128, "metadata": {"a": "b"}, "unknown": {"a": 1}},
    ],
)
def test_taken(more: dict[str, Any]) -> None:
    assert read(**more).model == "m"


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"vendor": 1}, "vendor"),
        ({"functions": []}, "functions"),
        ({"seed": 0}, "seed"),
        ({"top_k": -1}, "top_k"),
        ({"stop": []}, "stop"),
        ({"stop": list("abcde")}, "stop"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]}, "messages[0].content[0].text"),
        ({"response_format": {"type": "grammar"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, None),
        ({"tool_choice": {"type": "function", "function": {}}}, "tool_choice.function"),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, None),
        ({"stop": list("abcd"), "seed": 1, "top_k": 0, "user": "u", "store": True}, None),
        ({"vendor": None}, None),
    ],
)
def test_what_only_venice_refuses(more: dict[str, Any], param: str | None) -> None:
    body = raw(**more)
    read(**more)
    if param is None:
        venice_only(head_of(body, VeniceChatRequest), fields_of(body))
        return
    with pytest.raises(BadRequest) as caught:
        venice_only(head_of(body, VeniceChatRequest), fields_of(body))
    assert caught.value.param == param


def test_every_key_of_venice_is_typed() -> None:
    assert VENICE <= KNOWN


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, ""),
        ("a", "a"),
        ([Part("text", "a"), Part("image_url", image_url="x"), Part("text"), Part("text", "b")], "a\n\nb"),
    ],
)
def test_the_text_of_a_message(content: Any, text: str) -> None:
    assert Message("user", content).text == text


def test_limit_and_usage() -> None:
    assert read().limit is None
    assert read(max_tokens=3).limit == 3
    assert read(max_tokens=3, max_completion_tokens=0).limit == 0
    assert [read(stream_options=o).wants_usage for o in (None, {}, {"include_usage": True})] == [False, False, True]
