"""A chat as the inputs of a model, by its schema."""

from typing import Any

import pytest

from adapters.vaikerai.inputs import DEFAULT_LIMIT, inputs_of
from fakes.calls import chat_call
from proxy.call import Target
from proxy.errors import BadRequest, UnsupportedParameter

TARGET = Target("up", "o/n")
LLAMA: dict[str, dict[str, Any]] = {
    "prompt": {"type": "string"},
    "system_prompt": {"type": "string"},
    "prompt_template": {"type": "string"},
    "max_new_tokens": {"maximum": 4096},
    "temperature": {"minimum": 0.01, "maximum": 5},
    "stop_sequences": {"type": "string"},
}
TALK = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]


def test_system_and_question_go_their_own_ways() -> None:
    inputs = inputs_of(chat_call(TARGET, messages=TALK), LLAMA, None)
    assert inputs.given == {"prompt": "hi", "system_prompt": "be brief", "max_new_tokens": DEFAULT_LIMIT}


def test_a_named_template_is_not_wrapped_again() -> None:
    given = inputs_of(chat_call(TARGET, messages=TALK), LLAMA, "llama3").given
    assert given["prompt_template"] == "{prompt}"
    assert given["prompt"].endswith("assistant<|end_header_id|>\n\n")


def test_messages_pass_where_a_model_takes_them() -> None:
    schema = {"messages": {"type": "array"}, "prompt": {}, "max_completion_tokens": {"maximum": 10}}
    given = inputs_of(chat_call(TARGET, messages=TALK, max_tokens=50), schema, None).given
    assert given == {"messages": TALK, "max_completion_tokens": 10}


def test_names_bounds_and_what_is_dropped() -> None:
    call = chat_call(TARGET, temperature=0, top_p=0.5, stop=["a", "b"], max_tokens=5)
    inputs = inputs_of(call, LLAMA, None)
    assert inputs.given["temperature"] == 0.01
    assert inputs.given["stop_sequences"] == "a,b"
    assert (inputs.limit, inputs.dropped) == (5, ["top_p"])
    with pytest.raises(BadRequest, match="temperature must be between 0 and 1"):
        inputs_of(chat_call(TARGET, temperature=2), {"prompt": {}, "temperature": {"minimum": 0, "maximum": 1}}, None)


def test_a_stop_with_a_comma_is_only_enforced_here() -> None:
    assert "stop_sequences" not in inputs_of(chat_call(TARGET, stop=["a,b"]), LLAMA, None).given
    assert inputs_of(chat_call(TARGET, stop="x,y"), {"prompt": {}, "stop": {"type": "array"}}, None).given["stop"] == [
        "x,y"
    ]


def test_tools_in_the_history_are_refused() -> None:
    with pytest.raises(UnsupportedParameter):
        inputs_of(chat_call(TARGET, messages=[{"role": "tool", "tool_call_id": "c", "content": "x"}]), LLAMA, None)


SEES: dict[str, dict[str, Any]] = {"prompt": {"type": "string"}, "image_input": {"type": "array"}}


def looking(*urls: str) -> list[dict[str, Any]]:
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return [{"role": "user", "content": [{"type": "text", "text": "what is it?"}, *parts]}]


def test_pictures_go_where_the_model_takes_them() -> None:
    inputs = inputs_of(chat_call(TARGET, messages=looking("https://a/1", "https://a/2")), SEES, None)
    assert inputs.given["prompt"] == "what is it?"
    assert inputs.picture_input == "image_input"
    assert list(inputs.pictures) == [
        ("messages[0].content[1]", "https://a/1"),
        ("messages[0].content[2]", "https://a/2"),
    ]
    talks = SEES | {"messages": {"type": "array"}}
    assert inputs_of(chat_call(TARGET, messages=looking("https://a/1")), talks, None).given == {
        "messages": [{"role": "user", "content": "what is it?"}]
    }


@pytest.mark.parametrize(
    ("urls", "schema", "param"),
    [
        (("https://a/1",), {"prompt": {}}, "messages[0].content[1]"),
        (("https://a/1", "https://a/2"), {"prompt": {}, "image": {"type": "string"}}, "messages[0].content[2]"),
    ],
)
def test_pictures_that_it_does_not_take_are_refused(urls: tuple[str, ...], schema: Any, param: str) -> None:
    with pytest.raises(UnsupportedParameter) as caught:
        inputs_of(chat_call(TARGET, messages=looking(*urls)), schema, None)
    assert caught.value.param == param


def test_a_models_own_inputs_pass_and_others_are_named() -> None:
    schema = LLAMA | {"go_fast": {"type": "boolean"}, "safety_checker": {"type": "boolean"}}
    asked = {"go_fast": True, "safety_checker": False, "nonsense": 1, "user": "u"}
    inputs = inputs_of(chat_call(TARGET, **asked), schema, None)
    assert inputs.given["go_fast"] is True
    assert inputs.dropped == ["safety_checker", "nonsense", "user"]
    with pytest.raises(BadRequest) as caught:
        inputs_of(chat_call(TARGET, go_fast="yes"), schema, None)
    assert caught.value.param == "go_fast"
