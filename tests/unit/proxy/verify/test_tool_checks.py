"""Edges of the checks on tool calls."""

from typing import Any

import pytest


def piece(index: int, arguments: object = "", **more: Any) -> dict[str, Any]:
    head = {"id": more["id"], "type": "function"} if "id" in more else {}
    function = {"name": "f"} if "id" in more else {}
    return {"tool_calls": [{"index": index, **head, "function": {**function, "arguments": arguments}}]}


def streamed(desk: Any, make: Any, *deltas: dict[str, Any], finish: str = "tool_calls") -> None:
    chunk, choice = make
    desk.stream("stream_tools", *(chunk(choice(**delta)) for delta in deltas), chunk(choice(finish)))


STREAMED = ("tools.index", "tools.head", "tools.once", "tools.arguments", "tools.finish")


def test_two_calls_in_turn_are_fine(desk: Any, make: Any) -> None:
    streamed(desk, make, piece(0, id="a"), piece(1, id="b"), piece(0, '{"x'), piece(1, "{}"), piece(0, '": 1}'))
    assert [desk.verdict(id).outcome for id in STREAMED] == ["pass"] * 5


def test_a_call_in_one_delta_is_fine(desk: Any, make: Any) -> None:
    streamed(desk, make, piece(0, "{}", id="a"))
    assert [desk.verdict(id).outcome for id in STREAMED] == ["pass"] * 5


def test_a_model_that_calls_nothing_is_not_judged(desk: Any, make: Any) -> None:
    streamed(desk, make, {"content": "no tools here"}, finish="stop")
    desk.json("plain_tools", {"choices": [{"message": {"content": "none"}, "finish_reason": "stop"}]})
    for id in (*STREAMED, "tools.plain", "tools.plain-finish"):
        assert desk.verdict(id).outcome == "skip"


@pytest.mark.parametrize("arguments", ["", "{", "[]", "7", {"x": 1}, ["x"]])
def test_arguments_that_are_no_object_in_text(desk: Any, make: Any, arguments: object) -> None:
    streamed(desk, make, piece(0, arguments, id="a"))
    assert desk.verdict("tools.arguments").outcome == "fail"
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": arguments}}
    desk.json("plain_tools", {"choices": [{"message": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]})
    assert desk.verdict("tools.plain").outcome == "fail"


def test_tools_may_be_refused(desk: Any) -> None:
    for name in ("stream_tools", "plain_tools", "tool_result"):
        desk.json(name, {"error": {"message": "tools are not supported"}}, 400)
    for id in (*STREAMED, "tools.plain", "tools.result"):
        assert desk.verdict(id).outcome == "skip"
    desk.json("tool_result", {"error": {"message": "content must not be null"}}, 400)
    assert desk.verdict("tools.result").outcome == "fail"
