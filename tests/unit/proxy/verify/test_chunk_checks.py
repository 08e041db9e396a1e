"""Edges of the checks on chunks."""

from typing import Any

import pytest


def test_each_choice_is_judged_by_itself(desk: Any, make: Any) -> None:
    chunk, choice = make
    desk.stream(
        "stream_n",
        chunk(choice(role="assistant"), choice(index=1, role="assistant")),
        chunk(choice(content="a"), choice("stop", index=1)),
        chunk(choice("length")),
    )
    for id in ("chunk.role", "chunk.finish", "chunk.finish-enum", "chunk.finish-last", "chunk.choices"):
        assert desk.verdict(id).outcome == "pass"
    desk.stream("stream_n", chunk(choice(role="assistant")), chunk(choice(index=1, content="x")), chunk(choice("stop")))
    assert desk.verdict("chunk.role").evidence == "stream_n: choice 1: [null]"
    assert desk.verdict("chunk.finish").evidence == "stream_n: choice 1: []"


@pytest.mark.parametrize("late", [{}, {"content": ""}, {"content": None}])
def test_an_empty_delta_after_the_finish_says_nothing(desk: Any, make: Any, late: dict[str, Any]) -> None:
    chunk, choice = make
    desk.stream("stream", chunk(choice(role="assistant")), chunk(choice("stop")), chunk(choice(**late)))
    assert desk.verdict("chunk.finish-last").outcome == "pass"


@pytest.mark.parametrize(
    "bad",
    [
        {"index": "0", "delta": {}, "finish_reason": None},
        {"index": 0, "finish_reason": None},
        {"index": 0, "delta": {}},
        7,
    ],
)
def test_a_choice_has_its_three_keys(desk: Any, make: Any, bad: Any) -> None:
    chunk, _ = make
    desk.stream("stream", chunk(bad))
    assert desk.verdict("chunk.choices").outcome == "fail"


@pytest.mark.parametrize("created", [1.5, "1", True, None])
def test_created_is_an_integer(desk: Any, make: Any, created: object) -> None:
    chunk, choice = make
    desk.stream("stream", chunk(choice(), created=created))
    assert desk.verdict("chunk.shape").outcome == "fail"


def test_both_names_for_thoughts_are_fine(desk: Any, make: Any) -> None:
    chunk, choice = make
    desk.stream("stream", chunk(choice(reasoning="a", reasoning_content="a")), chunk(choice(reasoning_content="b")))
    assert desk.verdict("chunk.reasoning").outcome == "pass"


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 3},
        {"prompt_tokens": 1.0, "completion_tokens": 1, "total_tokens": 2},
        {"prompt_tokens": 1},
        [1],
        7,
    ],
)
def test_usage_that_is_none(desk: Any, make: Any, usage: object) -> None:
    chunk, _ = make
    desk.stream("stream", chunk(usage=usage))
    assert desk.verdict("usage.sum").outcome == "fail"


def test_no_usage_is_nothing_to_judge(desk: Any, make: Any) -> None:
    chunk, choice = make
    desk.stream("stream_bare", chunk(choice()))
    assert desk.verdict("usage.sum").outcome == "skip"
    assert desk.verdict("usage.once").outcome == "skip"
    assert desk.verdict("usage.unasked").outcome == "pass"
