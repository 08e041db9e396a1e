"""What passes unseen, and what does not."""

import json
from typing import Any

import pytest

from adapters.openai_api.regular import Regular

HEAD = b'data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m",'
OURS = b'data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"ours",'


def regular(*, wants_usage: bool = False, ours: bytes = OURS) -> Regular:
    one = Regular(wants_usage=wants_usage)
    one.head, one.ours, one.no_usage = HEAD, ours, b',"usage":null'
    return one


def event(delta: object, head: bytes = HEAD, finish: str | None = None, **more: object) -> bytes:
    choices = {"choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}], **more}
    return head + json.dumps(choices, separators=(",", ":")).encode()[1:] + b"\n\n"


A, B = event({"content": "a"}), event({"content": "b"})


@pytest.mark.parametrize(
    ("block", "passes"),
    [
        (A, len(A)),
        (A + B, len(A + B)),
        (A + event({}, finish="stop"), len(A)),
        (A + b"data: [DONE]\n\n", len(A)),
        (event({"role": "assistant", "content": ""}) + A, 0),
        (event({"tool_calls": []}), 0),
        (event({"reasoning_content": "hm"}), 0),
        (event({"content": "a"}, head=HEAD.replace(b"c1", b"c2")), 0),
        (A + event({"content": "b"}, head=b"data: {"), 0),
        (A[:-5] + b"\n\n" + B, 0),
        (b": a comment\n\n" + A, 0),
        (event({"content": "a"}, usage=None), len(event({"content": "a"}, usage=None))),
        (event({"content": "a"}, usage={"prompt_tokens": 1}), 0),
        (event({"content": 'it says "error": no'}), len(event({"content": 'it says "error": no'}))),
    ],
)
def test_what_may_pass(block: bytes, passes: int) -> None:
    assert regular().until(block) == passes


def test_nothing_passes_before_a_head_is_known() -> None:
    assert Regular(wants_usage=False).until(A) == 0


def test_who_wants_usage_gets_a_null_in_each_event_and_an_event_without_one_is_looked_into() -> None:
    with_null = event({"content": "a"}, usage=None)
    assert regular(wants_usage=True).until(with_null) == len(with_null)
    assert regular(wants_usage=True).until(A) == 0
    assert b"usage" in regular(wants_usage=True).passed_on(with_null)
    assert b"usage" not in regular().passed_on(with_null)


def test_the_head_becomes_ours() -> None:
    assert regular().passed_on(A + B) == (A + B).replace(b'"model":"m"', b'"model":"ours"')


@pytest.mark.parametrize(
    "part",
    [
        A + B,
        event({"content": "a", "refusal": None}),
        event({"content": ["a"]}),
        event({"content": 'a"b'}),
        event({"content": "a\\"}),
        event({}),
        event({"content": "a"}, also={"content": "b"})[:-2] + b" \n\n",
    ],
)
def test_what_is_not_text_alone(part: bytes) -> None:
    around = regular().text_in(part)
    assert around is None or part == HEAD + around[0] + b"a" + around[1], "it says truly what stands around"
    if part != event({"content": "a"}, also={"content": "b"})[:-2] + b" \n\n":
        assert around is None


def test_text_alone() -> None:
    one: Any = regular(ours=HEAD)
    around = one.text_in(A)
    assert around is not None
    assert HEAD + around[0] + b"a" + around[1] == A
    one.know_text(*around)
    assert (one.before + b"x" + one.behind, one.same) == (event({"content": "x"}), True)
    other = regular()
    other.know_text(*around)
    assert (other.same, other.ours_before + b"x" + other.ours_behind) == (False, event({"content": "x"}, head=OURS))
