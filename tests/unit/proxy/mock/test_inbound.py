"""What the imitated server accepts, and how it refuses."""

from typing import Any

import msgspec
import pytest

from proxy.mock.inbound import (
    ChatRequest,
    CompletionRequest,
    EmbeddingRequest,
    check_chat,
    check_completion,
    check_embedding,
    decode,
    prompts,
)
from proxy.mock.refusal import Refusal

USER = {"role": "user", "content": "hi"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CALL = {"role": "assistant", "content": None, "tool_calls": [
    {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
]}  # fmt: skip


def chat(**fields: Any) -> ChatRequest:
    body = {"model": "m", "messages": [USER], **fields}
    request = decode(msgspec.json.encode(body), ChatRequest, refuse_unknown=True)
    check_chat(request)
    return request


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"role": "alien", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": None}]}, "messages.[0].content"),
        ({"messages": [{"role": "user"}]}, "messages.[0].content"),
        ({"messages": [USER, {"role": "tool", "content": "x"}]}, "messages.[1].tool_call_id"),
        ({"messages": [USER, {"role": "tool", "tool_call_id": "c1", "content": "x"}]}, "messages.[1].role"),
        ({"messages": [USER, CALL, USER]}, "messages.[2].role"),
        ({"model": 7}, "model"),
        ({"n": 0}, "n"),
        ({"temperature": 3}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1, "max_completion_tokens": 1}, "max_tokens"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"tool_choice": "auto"}, "tool_choice"),
        ({"parallel_tool_calls": True}, "parallel_tool_calls"),
        ({"tools": []}, "tools"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}}, "tool_choice"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"venice_parameters": {}}, "venice_parameters"),
    ],
)
def test_a_mistake_is_a_400_that_names_the_parameter(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(Refusal) as refused:
        chat(**fields)
    assert (refused.value.status, refused.value.param) == (400, param)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[]", b'"x"', b"null"])
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(Refusal) as refused:
        decode(body, ChatRequest, refuse_unknown=False)
    assert (refused.value.status, refused.value.code) == (400, "invalid_json")


@pytest.mark.parametrize("name", ["model", "messages"])
def test_a_missing_parameter_is_named(name: str) -> None:
    body = {"model": "m", "messages": [USER]}
    del body[name]
    with pytest.raises(Refusal) as refused:
        decode(msgspec.json.encode(body), ChatRequest, refuse_unknown=False)
    assert (refused.value.param, refused.value.code) == (name, "missing_required_parameter")


def test_every_optional_parameter_may_be_null() -> None:
    optional = set(ChatRequest.__struct_fields__) - {"model", "messages"}
    request = chat(**dict.fromkeys(optional))
    assert request.stops == []
    assert not request.wants_usage


def test_unknown_keys_pass_where_the_server_is_lenient() -> None:
    body = msgspec.json.encode({"model": "m", "messages": [USER], "top_k": 3})
    assert decode(body, ChatRequest, refuse_unknown=False).model == "m"


def test_a_conversation_with_tools_is_fine() -> None:
    request = chat(
        messages=[USER, CALL, {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "4"}]}]
    )
    assert request.messages[2].text == "4"


@pytest.mark.parametrize(
    ("prompt", "texts"),
    [("a", ["a"]), (["a", "b"], ["a", "b"]), ([1, 2], ["1 2"]), ([[1, 2], [3]], ["1 2", "3"])],
)
def test_a_prompt_has_four_forms(prompt: Any, texts: list[str]) -> None:
    request = decode(msgspec.json.encode({"model": "m", "input": prompt}), EmbeddingRequest, refuse_unknown=True)
    check_embedding(request)
    assert prompts(request.input) == texts


@pytest.mark.parametrize("prompt", ["", [], [""], [[]], ["a", 1], [1, [2]]])
def test_an_empty_or_mixed_prompt_is_refused(prompt: Any) -> None:
    body = msgspec.json.encode({"model": "m", "prompt": prompt})
    request = decode(body, CompletionRequest, refuse_unknown=True)
    with pytest.raises(Refusal) as refused:
        check_completion(request)
    assert refused.value.param == "prompt"


def test_best_of_is_at_least_n() -> None:
    request = decode(b'{"model":"m","prompt":"a","n":3,"best_of":2}', CompletionRequest, refuse_unknown=True)
    with pytest.raises(Refusal, match="best_of"):
        check_completion(request)
