"""Whole answers bent by faults."""

from typing import Any

import msgspec
import pytest

from proxy.mock.faults import FAULTS, fault
from proxy.mock.inbound import ChatRequest, decode
from proxy.mock.script import Script
from proxy.mock.scripted import chat_body, say_chat
from proxy.mock.warp_body import warp_body

Json = dict[str, Any]
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}


def warped(name: str, tools: bool = False, n: int = 1, **params: object) -> Json:
    body: Json = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "n": n}
    if tools:
        body["tools"] = [TOOL]
    request = decode(msgspec.json.encode(body), ChatRequest, refuse_unknown=True)
    return warp_body(chat_body(say_chat(request, 1, Script()), request), [fault(name, **params)] if name else [])


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("no_finish", lambda body: body["choices"][0]["finish_reason"] is None),
        ("finish", lambda body: body["choices"][0]["finish_reason"] == "eos"),
        ("no_role", lambda body: "role" not in body["choices"][0]["message"]),
        ("content_list", lambda body: isinstance(body["choices"][0]["message"]["content"], list)),
        ("u2028", lambda body: "\u2028" in body["choices"][0]["message"]["content"]),
        ("think", lambda body: body["choices"][0]["message"]["content"].startswith("<think>")),
        ("reasoning", lambda body: "reasoning" in body["choices"][0]["message"]),
        ("no_id", lambda body: "id" not in body),
        ("created_float", lambda body: isinstance(body["created"], float)),
        ("wrong_object", lambda body: body["object"] == "chat.completion.chunk"),
        ("error_null", lambda body: "error" in body),
        ("fingerprint_null", lambda body: body["system_fingerprint"] is None),
        ("empty_choices", lambda body: body["choices"] == []),
        ("choices_missing", lambda body: "choices" not in body),
        ("one_choice", lambda body: len(body["choices"]) == 1),
        ("choice_order", lambda body: [choice["index"] for choice in body["choices"]] == [1, 0]),
        ("usage_missing", lambda body: "usage" not in body),
        ("usage_wrong_sum", lambda body: body["usage"]["total_tokens"] == warped("", n=2)["usage"]["total_tokens"] + 7),
    ],
)
def test_a_fault_is_seen(name: str, seen: Any) -> None:
    assert not seen(warped("", n=2))
    assert seen(warped(name, n=2))


def test_tool_calls() -> None:
    def call(name: str) -> Json:
        choice = warped(name, tools=True)["choices"][0]
        return {**choice["message"]["tool_calls"][0], "finish": choice["finish_reason"]}

    assert call("tool_object")["function"]["arguments"] == {}
    assert "type" not in call("tool_no_type")
    assert call("tool_finish_stop")["finish"] == "stop"


@pytest.mark.parametrize("name", [name for name, spec in FAULTS.items() if spec.phase == "chunk"])
def test_every_fault_takes_every_answer_and_changes_no_original(name: str) -> None:
    for tools in (True, False):
        warped(name, tools)
    for other in ({"object": "list", "data": []}, {"object": "model", "id": "m"}):
        assert warp_body(other, [fault(name)]) == other
