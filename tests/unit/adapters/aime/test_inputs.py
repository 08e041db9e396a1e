"""A chat as the parameters of an endpoint."""

import json
from typing import Any

import pytest

from adapters.aime.inputs import USUAL, inputs_of, with_system
from fakes.calls import chat_call
from proxy.call import Target
from proxy.errors import BadRequest, UnsupportedParameter

TARGET = Target("up", "lab_chat")
CHAT: dict[str, dict[str, Any]] = {
    "chat_context": {"type": "json"},
    "max_gen_tokens": {"minimum": 1, "maximum": 100},
    "temperature": {"minimum": 0.0, "maximum": 1.0},
    "top_k": {"minimum": 1, "maximum": 1000},
}
PROMPT: dict[str, dict[str, Any]] = {"prompt_input": {"type": "string"}}
TALK = [
    {"role": "developer", "content": "be brief"},
    {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
]


def test_the_context_is_a_text_of_json() -> None:
    given = inputs_of(chat_call(TARGET, messages=TALK), CHAT, None).given
    assert json.loads(given["chat_context"]) == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "a\nb"},
    ]


def test_only_declared_names_go_out_and_the_rest_is_named() -> None:
    call = chat_call(TARGET, temperature=0.5, top_p=0.5, top_k=-1, seed=1, stop=["x"], max_tokens=500)
    inputs = inputs_of(call, CHAT, None)
    assert sorted(inputs.given) == ["chat_context", "max_gen_tokens", "temperature"]
    assert (inputs.given["max_gen_tokens"], inputs.limit) == (100, 100)
    assert sorted(inputs.dropped) == ["seed", "top_k", "top_p"]


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"minimum": 0.0, "maximum": 1.0}, "between 0 and 1"),
        ({"maximum": 1.0}, "at most 1"),
        ({"minimum": 2.0}, "at least 2"),
    ],
)
def test_bounds_are_named(rule: dict[str, float], said: str) -> None:
    with pytest.raises(BadRequest, match=f"temperature must be {said}.* for model 'm'") as caught:
        inputs_of(chat_call(TARGET, temperature=1.5), {"chat_context": {}, "temperature": rule}, None)
    assert caught.value.param == "temperature"


def test_a_prompt_is_bare_or_written_by_the_template() -> None:
    call = chat_call(TARGET, messages=TALK[1:])
    assert inputs_of(call, PROMPT, None).given == {"prompt_input": "a\nb"}
    inputs = inputs_of(call, PROMPT, "chatml")
    assert inputs.given["prompt_input"].endswith("<|im_start|>assistant\n")
    assert "<|im_end|>" in inputs.stops


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "tool", "tool_call_id": "c", "content": "x"}, "messages"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}, "messages[0].content[0]"),
    ],
)
def test_what_a_text_model_cannot_carry_is_refused(message: dict[str, Any], param: str) -> None:
    with pytest.raises(UnsupportedParameter) as caught:
        inputs_of(chat_call(TARGET, messages=[message]), USUAL, None)
    assert caught.value.param == param


def test_the_house_speaks_first() -> None:
    call = chat_call(TARGET)
    assert [m.role for m in with_system(call)] == ["user"]
