"""A request becomes the prompt of one model, and what follows it can be read."""

from typing import Any

import pytest

from adapters.llama.chat import ChatRequest, MessageError, Prompts, TemplateError, TemplateRefused
from adapters.llama.text import ReasoningMarkers
from fakes import chat_templates as shapes

TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
USER = {"role": "user", "content": "hi"}


def _of(source: str, **metadata: str) -> Prompts:
    named = {f"tokenizer.chat_template.{name}": text for name, text in metadata.items()}
    return Prompts.of({"tokenizer.chat_template": source, "general.name": "x", **named}, bos="<s>", eos="</s>")


def _text(source: str, **fields: Any) -> str:
    return _of(source).render(ChatRequest(**{"messages": [USER], **fields})).text


def test_plain_and_bos() -> None:
    prompt = _of(shapes.PLAIN).render(ChatRequest(messages=[USER]))
    assert prompt.text == "<user>hi</><assistant>"
    assert (prompt.starts_with_bos, prompt.reasoning, prompt.family) == (False, None, "generic")
    assert _of(shapes.MISTRAL).render(ChatRequest(messages=[USER])).starts_with_bos


def test_a_model_without_template_gets_the_named_default() -> None:
    prompts = Prompts.of({"general.name": "x"})
    assert prompts.default_name == "chatml"
    assert (
        prompts.render(ChatRequest(messages=[USER])).text == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    )
    assert _of(shapes.PLAIN).default_name is None


def test_a_broken_template_is_a_clear_load_error() -> None:
    with pytest.raises(TemplateError, match="does not compile"):
        _of("{% if %}")


def test_a_broken_named_template_is_left_out_and_listed() -> None:
    prompts = _of(shapes.PLAIN, odd="{% if %}")
    assert prompts.names == ("default",)
    assert "does not compile" in prompts.broken["odd"]


def test_named_templates() -> None:
    prompts = _of(shapes.PLAIN, tool_use=shapes.HERMES, rag="{{ messages[0].content }}{{ documents | tojson }}")
    assert prompts.names == ("default", "tool_use", "rag")
    assert "<tool_call>" in prompts.render(ChatRequest(messages=[USER], tools=[TOOL])).text
    assert prompts.traits(tools=True).family == "hermes"
    assert prompts.traits().family == "generic"
    named = ChatRequest(messages=[USER], template="rag", documents=[{"text": "é"}])
    assert prompts.render(named).text == 'hi[{"text": "é"}]'
    with pytest.raises(MessageError, match="no template 'nope'"):
        prompts.render(ChatRequest(messages=[USER], template="nope"))


def test_tools_by_the_template_or_by_system_text() -> None:
    native = _of(shapes.HERMES).render(ChatRequest(messages=[USER], tools=[TOOL]))
    assert native.family == "hermes"
    assert native.text.startswith('<system>{"type": "function"')
    ours = _of(shapes.PLAIN).render(ChatRequest(messages=[{"role": "system", "content": "s"}, USER], tools=[TOOL]))
    assert ours.family == "generic"
    assert ours.text.startswith("<system>s\n\nYou can call the functions")
    alone = _of(shapes.NO_SYSTEM).render(ChatRequest(messages=[USER], tools=[TOOL]))
    assert alone.text.startswith("<user>You can call the functions")
    assert alone.text.endswith("hi")


def test_kwargs_reach_the_template_but_not_the_reserved_names() -> None:
    source = shapes.PLAIN + "{{ mood }}"
    assert _text(source, kwargs={"mood": "gay"}).endswith("gay")
    for name in ("messages", "tools", "bos_token", "add_generation_prompt"):
        with pytest.raises(MessageError, match=f"{name!r} is not a variable"):
            _text(source, kwargs={name: 1})


def test_thinking_is_turned_off_by_switch_or_prefill() -> None:
    switched = _of(shapes.HERMES).render(ChatRequest(messages=[USER], disable_thinking=True))
    assert switched.text.endswith("<assistant><think></think>")
    assert switched.thinking_disabled
    assert switched.reasoning == ReasoningMarkers("<think>", "</think>", starts_inside=False)
    opened = _of(shapes.THINKS_INSIDE)
    assert opened.render(ChatRequest(messages=[USER])).reasoning == ReasoningMarkers("<think>", "</think>", True)
    closed = opened.render(ChatRequest(messages=[USER], disable_thinking=True))
    assert closed.text.endswith("<assistant><think>\n\n</think>\n\n")
    assert closed.reasoning == ReasoningMarkers("<think>", "</think>", False)
    pieces = Prompts.of({"tokenizer.chat_template": shapes.PLAIN}, pieces=("<think>", "</think>"))
    assert pieces.render(ChatRequest(messages=[USER], disable_thinking=True)).text.endswith("<think>\n\n</think>\n\n")
    none = _of(shapes.PLAIN).render(ChatRequest(messages=[USER], disable_thinking=True))
    assert not none.thinking_disabled
    assert none.text == "<user>hi</><assistant>"


def test_neighbours_are_merged_only_when_the_template_insists() -> None:
    twice = [USER, {"role": "user", "content": "there"}]
    assert _text(shapes.PLAIN, messages=twice) == "<user>hi</><user>there</><assistant>"
    assert "[INST]hi\n\nthere[/INST]" in _text(shapes.MISTRAL, messages=twice)
    with pytest.raises(TemplateRefused, match="roles must alternate"):
        _text(shapes.MISTRAL, messages=[{"role": "assistant", "content": "me first"}])


def test_a_tool_round_through_a_strict_template() -> None:
    call = {"id": "call_0123456789", "type": "function", "function": {"name": "f", "arguments": '{"a": "é"}'}}
    messages = [
        USER,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_0123456789", "content": "r"},
    ]
    text = _text(shapes.MISTRAL, messages=messages, tools=[TOOL])
    assert '[TOOL_CALLS][{"name": "f", "arguments": {"a": "é"}, "id": "' in text
    call_id = text.split('"id": "')[1][:9]
    assert f"[TOOL_RESULTS]r {call_id}[/TOOL_RESULTS]" in text


def test_media_are_handed_out_in_order() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:,1"}}
    request = ChatRequest(messages=[{"role": "user", "content": [image, {"type": "text", "text": "?"}]}])
    prompt = _of(shapes.PLAIN).render(request, media_marker="<M7>", media_kinds=("image_url",))
    assert prompt.text == "<user><M7>\n?</><assistant>"
    assert prompt.media == (image,)
    with pytest.raises(MessageError, match="no projector"):
        _of(shapes.PLAIN).render(request)
