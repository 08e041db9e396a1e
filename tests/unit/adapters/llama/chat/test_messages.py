"""Messages are made fit for a template without changing what the client sent."""

import copy
from typing import Any

import pytest

from adapters.llama.chat.errors import MessageError
from adapters.llama.chat.messages import Conversation, merged
from adapters.llama.chat.traits import TemplateTraits

FULL = TemplateTraits(tools=True, tool_calls=True, tool_role=True, object_arguments=True, null_content=True)


def _take(messages: object, traits: TemplateTraits = FULL, **kwargs: Any) -> list[dict[str, Any]]:
    before = copy.deepcopy(messages)
    out = Conversation(traits, **kwargs).take(messages)
    assert messages == before
    return out


def _call(arguments: object, call_id: str = "call_1") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": "f", "arguments": arguments}}


def test_parts_become_text_and_nulls_go() -> None:
    message = {
        "role": "user",
        "name": None,
        "content": [{"type": "text", "text": "a"}, {"type": "input_text", "text": "b"}],
    }
    assert _take([message]) == [{"role": "user", "content": "a\nb"}]
    assert _take([message], TemplateTraits(typed_content=True)) == [
        {"role": "user", "content": [{"type": "text", "text": "a\nb"}]}
    ]


def test_developer_is_system_unless_known() -> None:
    messages = [{"role": "developer", "content": "d"}]
    assert _take(messages)[0]["role"] == "system"
    assert _take(messages, TemplateTraits(developer=True))[0]["role"] == "developer"


def test_system_goes_to_the_user_where_there_is_no_such_role() -> None:
    messages = [
        {"role": "system", "content": "s"},
        {"role": "developer", "content": "d"},
        {"role": "user", "content": "u"},
    ]
    assert _take(messages, TemplateTraits(system=False)) == [{"role": "user", "content": "s\n\nd\n\nu"}]
    assert _take(messages[:1], TemplateTraits(system=False)) == [{"role": "user", "content": "s"}]
    typed = TemplateTraits(system=False, typed_content=True)
    assert [p["text"] for p in _take(messages, typed)[0]["content"]] == ["s\n\nd", "u"]


def test_arguments_in_the_form_that_the_template_wants() -> None:
    def arguments(value: object, traits: TemplateTraits) -> object:
        taken = _take([{"role": "assistant", "content": None, "tool_calls": [_call(value)]}], traits)
        return taken[0]["tool_calls"][0]["function"]["arguments"]

    strings = TemplateTraits(tool_calls=True)
    assert arguments('{"a": 1}', FULL) == {"a": 1}
    assert arguments({"a": 1}, FULL) == {"a": 1}
    assert arguments("", FULL) == {}
    assert arguments(None, FULL) == {}
    assert arguments("{broken", FULL) == {"arguments": "{broken"}
    assert arguments('{"a": 1}', strings) == '{"a": 1}'
    assert arguments({"a": "é"}, strings) == '{"a": "é"}'
    with pytest.raises(MessageError, match=r"messages\[0\]\.tool_calls\[0\]\.function\.arguments"):
        arguments("[1]", FULL)


def test_null_content_as_the_template_takes_it() -> None:
    message = {"role": "assistant", "content": None, "tool_calls": [_call("{}")]}
    assert _take([message])[0]["content"] is None
    assert _take([message], TemplateTraits(tool_calls=True))[0]["content"] == ""
    assert _take([{"role": "assistant", "content": None}])[0]["content"] == ""
    assert _take([{"role": "assistant", "content": None, "refusal": "no"}])[0]["content"] == "no"


def test_legacy_function_messages() -> None:
    messages = [
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "r"},
    ]
    taken = _take(messages)
    assert taken[0]["tool_calls"][0]["function"] == {"name": "f", "arguments": {}}
    assert "function_call" not in taken[0]
    assert taken[1] == {"role": "tool", "name": "f", "content": "r"}


def test_calls_and_results_as_text_where_the_template_knows_none() -> None:
    messages = [
        {"role": "assistant", "content": "ok", "tool_calls": [_call('{"a": 1}')]},
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
        {"role": "tool", "name": "f", "tool_call_id": "call_1", "content": "warm"},
    ]
    assert _take(messages, TemplateTraits()) == [
        {"role": "assistant", "content": 'ok\n{"name": "f", "arguments": {"a": 1}}'},
        {"role": "user", "content": "Tool result:\nsunny"},
        {"role": "user", "content": "Result of f:\nwarm"},
    ]


def test_nine_character_ids_agree_between_call_and_result() -> None:
    traits = TemplateTraits(tool_calls=True, tool_role=True, nine_character_ids=True)
    messages = [
        {"role": "assistant", "tool_calls": [_call("{}", "call_abcdef"), _call("{}", "abcdefghi")]},
        {"role": "tool", "tool_call_id": "call_abcdef", "content": "r"},
    ]
    first, result = _take(messages, traits)
    ids = [call["id"] for call in first["tool_calls"]]
    assert len(ids[0]) == 9
    assert ids[0].isalnum()
    assert ids[1] == "abcdefghi"
    assert result["tool_call_id"] == ids[0]


def test_media_become_markers_in_order() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:,x"}}
    conversation = Conversation(FULL, media_marker="<M>", media_kinds=("image_url",))
    taken = conversation.take([{"role": "user", "content": [image, {"type": "text", "text": "what?"}]}])
    assert taken[0]["content"] == "<M>\nwhat?"
    assert conversation.media == [image]
    with pytest.raises(MessageError, match=r"messages\[0\]\.content\[0\].*no input_audio parts"):
        Conversation(FULL, "<M>", ("image_url",)).take([{"role": "user", "content": [{"type": "input_audio"}]}])


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([], "messages"),
        ("hi", "messages"),
        (["hi"], "messages[0]"),
        ([{"role": "king", "content": "x"}], "messages[0].role"),
        ([{"content": "x"}], "messages[0].role"),
        ([{"role": "user", "content": None}], "messages[0].content"),
        ([{"role": "user", "content": 7}], "messages[0].content"),
        ([{"role": "user", "content": [{"type": "file"}]}], "messages[0].content[0].type"),
        ([{"role": "user", "content": [{"type": "text", "text": 1}]}], "messages[0].content[0].text"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "messages[0].content[0]"),
        ([{"role": "assistant", "tool_calls": "x"}], "messages[0].tool_calls"),
        ([{"role": "assistant", "tool_calls": [{"function": {}}]}], "messages[0].tool_calls[0]"),
    ],
)
def test_refusals_name_the_place(messages: object, param: str) -> None:
    with pytest.raises(MessageError) as caught:
        _take(messages)
    assert caught.value.param == param


def test_a_client_cannot_smuggle_the_media_marker() -> None:
    for content in ("a <M> b", [{"type": "text", "text": "<M>"}]):
        with pytest.raises(MessageError, match="reserved"):
            _take([{"role": "user", "content": content}], media_marker="<M>")


def test_neighbours_are_merged_but_calls_and_results_are_not() -> None:
    call = {"role": "assistant", "content": "", "tool_calls": [_call({})]}
    messages = [
        {"role": "user", "content": "a"},
        {"role": "user", "content": "b"},
        call,
        {"role": "assistant", "content": "c"},
        {"role": "tool", "content": "d"},
        {"role": "tool", "content": "e"},
    ]
    assert merged(messages) == [{"role": "user", "content": "a\n\nb"}, *messages[2:]]
