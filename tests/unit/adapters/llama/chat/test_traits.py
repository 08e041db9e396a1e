"""A template is asked what it can do, and its text what it speaks of."""

import pytest

from adapters.llama.chat.errors import TemplateError
from adapters.llama.chat.template import CompiledTemplate
from adapters.llama.chat.traits import TemplateTraits, describe
from fakes import chat_templates as shapes


def _traits(source: str, pieces: tuple[str, ...] = ()) -> TemplateTraits:
    return describe(CompiledTemplate(source, bos="<s>", eos="</s>"), pieces)


def test_plain() -> None:
    assert _traits(shapes.PLAIN) == TemplateTraits()


def test_hermes() -> None:
    traits = _traits(shapes.HERMES)
    assert (traits.family, traits.tools, traits.tool_calls, traits.tool_role) == ("hermes", True, True, True)
    assert traits.object_arguments
    assert traits.null_content
    assert (traits.think_open, traits.thinking_switch, traits.prefill_no_think) == ("<think>", "enable_thinking", "")


def test_llama() -> None:
    traits = _traits(shapes.LLAMA)
    assert (traits.family, traits.tools, traits.object_arguments) == ("llama3", True, True)


def test_mistral() -> None:
    traits = _traits(shapes.MISTRAL)
    assert (traits.family, traits.nine_character_ids, traits.tool_role) == ("mistral", True, True)
    assert _traits(shapes.MISTRAL + "{# [ARGS] #}").family == "mistral_args"


def test_roles() -> None:
    assert not _traits(shapes.NO_SYSTEM).system
    assert _traits(shapes.DEVELOPER).developer
    assert not _traits(shapes.PLAIN).developer  # it would print any role; only a template that speaks of it knows it


def test_content_and_arguments() -> None:
    assert _traits(shapes.TYPED).typed_content
    traits = _traits(shapes.STRING_ARGUMENTS)
    assert traits.tool_calls
    assert not traits.object_arguments
    traits = _traits(shapes.NEEDS_NULL)
    assert traits.null_content
    assert traits.object_arguments


def test_tools_left_out_when_null_is_not_understood() -> None:
    traits = _traits(shapes.TOOLS_MUST_BE_ABSENT)
    assert traits.tools
    assert not traits.null_tools


def test_reasoning_without_a_switch_is_turned_off_by_prefill() -> None:
    traits = _traits(shapes.THINKS_INSIDE)
    assert (traits.think_open, traits.thinking_switch) == ("<think>", "")
    assert traits.prefill_no_think == "<think>\n\n</think>\n\n"


def test_the_vocabulary_helps_where_the_template_is_silent() -> None:
    assert _traits(shapes.PLAIN, ("<think>", "</think>")).think_open == "<think>"
    assert _traits(shapes.PLAIN, ("<think>",)).think_open == ""
    assert _traits(shapes.TOOLS_MUST_BE_ABSENT, ("<tool_call>",)).family == "hermes"


@pytest.mark.parametrize("source", ["{{ nope.nope }}", "constant", "{{ raise_exception('never') }}"])
def test_a_template_that_cannot_say_a_user_message_is_broken(source: str) -> None:
    with pytest.raises(TemplateError):
        _traits(source)
