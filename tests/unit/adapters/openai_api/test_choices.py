"""One choice held to the contract: accents of tool calls, of finish reasons, of reasoning."""

from typing import Any

import pytest

from adapters.openai_api.choices import FINISHES, Choice, Misshapen, ToolCalls, finish_reason, text_of


@pytest.mark.parametrize(
    ("word", "called", "expected"),
    [
        *[(word, False, word) for word in sorted(FINISHES)],
        (None, True, None),
        ("stop", True, "tool_calls"),
        ("STOP", False, "stop"),
        ("eos_token", False, "stop"),
        ("max_tokens", True, "length"),
        ("tool_use", False, "tool_calls"),
        ("refusal", False, "content_filter"),
        (7, False, "stop"),
    ],
)
def test_finish_reason(word: Any, called: bool, expected: str | None) -> None:
    assert finish_reason(word, called) == expected


def entry(**more: Any) -> dict[str, Any]:
    function = {key: more.pop(key) for key in ("name", "arguments") if key in more}
    return {**more, "function": function} if function else more


def told(deltas: list[list[dict[str, Any]]]) -> list[tuple[str, str, str]]:
    """(id, name, arguments) of every call, as a client collects them."""
    calls = ToolCalls()
    out: dict[int, list[str]] = {}
    for entries in deltas:
        for delta in calls.deltas(entries):
            at = out.setdefault(delta["index"], ["", "", ""])
            at[0] += delta.get("id", "")
            at[1] += delta["function"].get("name", "")
            at[2] += delta["function"]["arguments"]
    assert list(out) == list(range(len(out))), "dense, in order"
    return [tuple(call) for call in out.values()]  # type: ignore[misc]


@pytest.mark.parametrize(
    ("deltas", "expected"),
    [
        pytest.param(
            [[entry(index=0, id="a", name="f", arguments="")], [entry(index=0, arguments="{}")]],
            [("a", "f", "{}")],
            id="as it should be",
        ),
        pytest.param(
            [[entry(index=1, id="a", name="f", arguments="{}")], [entry(index=5, id="b", name="g", arguments="[]")]],
            [("a", "f", "{}"), ("b", "g", "[]")],
            id="gaps",
        ),
        pytest.param(
            [[entry(id="a", name="f", arguments='{"x"')], [entry(arguments=":1}")], [entry(id="b", name="g")]],
            [("a", "f", '{"x":1}'), ("b", "g", "")],
            id="no index",
        ),
        pytest.param(
            [[entry(index=0, id="a", name="f", arguments='{"x"')], [entry(index=0, id="a", name="f", arguments=":1}")]],
            [("a", "f", '{"x":1}')],
            id="id and name repeated",
        ),
        pytest.param(
            [[entry(index=0, id="a", name="f", arguments="{}")], [entry(index=0, id="b", name="g", arguments="{}")]],
            [("a", "f", "{}"), ("b", "g", "{}")],
            id="always index 0",
        ),
        pytest.param([[entry(index=0, id="a", name="f", arguments={"x": 1})]], [("a", "f", '{"x":1}')], id="an object"),
        pytest.param(
            [[entry(index=0, id="a", name="f", arguments=text)] for text in ("{", '{"x', '{"x":', '{"x":1}')],
            [("a", "f", '{"x":1}')],
            id="cumulative",
        ),
        pytest.param(
            [[entry(index=0, id="a", name="f", arguments='{"x":')], [entry(index=0, arguments='{"x":1}}')]],
            [("a", "f", '{"x":{"x":1}}')],
            id="nested, no repetition",
        ),
        pytest.param(
            [
                [entry(index=0, id="a", name="f", arguments='{"in":[')],
                [entry(index=0, arguments='{"in":[')],
                [entry(index=0, arguments="]}]}")],
            ],
            [("a", "f", '{"in":[{"in":[]}]}')],
            id="a tree",
        ),
        pytest.param(
            [[entry(index=0, id="a", name="f", arguments='{"x":"a:')], [entry(index=0, arguments='{"x":"a:b"}')]],
            [("a", "f", '{"x":"a:b"}')],
            id="cumulative, a colon in a text",
        ),
    ],
)
def test_tool_calls(deltas: list[list[dict[str, Any]]], expected: list[tuple[str, str, str]]) -> None:
    assert told(deltas) == expected


def test_an_id_is_made_where_none_came() -> None:
    (delta,) = ToolCalls().deltas([entry(index=0, name="f", arguments="{}")])
    assert delta["id"].startswith("call_")
    assert delta["type"] == "function"


def test_role_first_and_once_and_reasoning_under_one_name() -> None:
    choice = Choice(0, strip_thinking=False)
    first = choice.normalised({"delta": {"role": "assistant", "reasoning": "hm"}})
    then = choice.normalised({"delta": {"role": "assistant", "content": [{"type": "text", "text": "yes"}]}})
    assert first is not None
    assert then is not None
    assert first["delta"] == {"role": "assistant", "content": "", "reasoning_content": "hm"}
    assert then["delta"] == {"content": "yes"}
    assert choice.normalised({"delta": {"role": "assistant", "content": None}}) is None


def test_one_finish_reason() -> None:
    choice = Choice(0, strip_thinking=False)
    choice.normalised({"delta": {"content": "a"}, "finish_reason": "stop"})
    assert choice.finished
    assert choice.normalised({"delta": {}, "finish_reason": "length"}) is None


def test_thinking_is_stripped_and_what_was_held_comes_with_the_end() -> None:
    choice = Choice(0, strip_thinking=True)
    deltas = [choice.normalised({"delta": {"content": text}}) for text in ("<thi", "nk>no", "</think>", "yes")]
    text = "".join(d["delta"].get("content", "") for d in deltas if d)
    assert text.strip() == "yes"
    open_ended = Choice(0, strip_thinking=True)
    open_ended.normalised({"delta": {"content": "<think>only thoughts"}})
    last = open_ended.normalised({"delta": {}, "finish_reason": "stop"})
    assert last is not None
    assert "only thoughts" in last["delta"]["content"]


@pytest.mark.parametrize(
    "choice",
    [
        {"delta": "text"},
        {"delta": {"content": 5}},
        {"delta": {"tool_calls": {"index": 0}}},
        {"delta": {"tool_calls": [{"function": "f"}]}},
        {"delta": {"tool_calls": [{"function": {"name": []}}]}},
    ],
)
def test_misshapen(choice: dict[str, Any]) -> None:
    with pytest.raises(Misshapen):
        Choice(0, strip_thinking=False).normalised(choice)


def test_text_of() -> None:
    assert text_of(None) is None
    assert text_of([{"text": "a"}, "odd", {"text": None}, {"text": "b"}]) == "ab"
