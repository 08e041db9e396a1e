"""Template, grammar and splitter speak of the same markers."""

import pytest

from adapters.llama import spec
from adapters.llama.prompting import PromptError, Prompting
from adapters.llama.spec import Generate, GrammarSpec
from adapters.llama.text import Splitter, Text, ToolArgs, ToolStart
from fakes.gguf_model import CHATML, HERMES

KEY = "tokenizer.chat_template"
USER = [{"role": "user", "content": "hi"}]
TOOLS = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}]


def test_a_model_without_a_template_gets_ours_and_says_so() -> None:
    prompting = Prompting({})
    assert prompting.described()["chat_template"] == "chatml"
    assert "hi" in prompting.render(Generate(messages=USER)).text
    assert Prompting({KEY: CHATML}).described()["chat_template"] == "model"


def test_a_broken_template_leaves_bare_prompts() -> None:
    prompting = Prompting({KEY: "{% for x in %}"})
    assert "does not compile" in prompting.described()["template_trouble"]
    with pytest.raises(PromptError) as caught:
        prompting.render(Generate(messages=USER))
    assert caught.value.code == spec.UNSUPPORTED
    assert prompting.render(Generate(prompt="as it is")).text == "as it is"


@pytest.mark.parametrize(
    "template",
    [
        "{% for a in range(99999999) %}x{% endfor %}",
        "{{ messages.__class__.__mro__ }}",
        "{{ ''.__class__ }}{% for m in messages %}{{ m.content * 10000000 }}{% endfor %}",
        "{% for m in messages %}{{ m.content }}{% endfor %}{{ 'x' * 99999999 }}",
    ],
)
def test_a_hostile_template_is_an_error_and_not_a_hang(template: str) -> None:
    prompting = Prompting({KEY: template})
    with pytest.raises(PromptError):
        prompting.render(Generate(messages=USER))


def test_bad_messages_name_the_place() -> None:
    with pytest.raises(PromptError) as caught:
        Prompting({KEY: CHATML}).render(Generate(messages=[{"role": "user", "content": 5}]))
    assert caught.value.code == spec.REFUSED
    assert caught.value.param is not None
    assert caught.value.param.startswith("messages[0]")


def test_tools() -> None:
    prompting = Prompting({KEY: HERMES})
    assert prompting.described()["tool_family"] == "hermes"
    auto = prompting.render(Generate(messages=USER, tools=TOOLS))
    assert auto.grammar is not None
    assert auto.grammar.triggers
    assert "look_up" in auto.text
    forced = prompting.render(Generate(messages=USER, tools=TOOLS, tool_choice="required"))
    assert forced.grammar is not None
    assert not forced.grammar.triggers
    never = prompting.render(Generate(messages=USER, tools=TOOLS, tool_choice="none"))
    assert never.grammar is None
    assert never.tools is None
    assert "look_up" not in never.text


def test_what_is_forced_is_what_is_read() -> None:
    prompting = Prompting({KEY: HERMES})
    request = Generate(messages=USER, tools=TOOLS, tool_choice="required")
    rendered = prompting.render(request)
    splitter = Splitter(prompting.splitter(request, rendered))
    events = splitter.feed(b'<tool_call>\n{"name": "look_up", "arguments": {}}\n</tool_call>') + splitter.finish()
    assert isinstance(events[0], ToolStart)
    assert "".join(event.text for event in events if isinstance(event, ToolArgs)) == "{}"
    assert not any(isinstance(event, Text) and event.text.strip() for event in events)


def test_response_formats() -> None:
    prompting = Prompting({KEY: CHATML})
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    for wanted in ({"type": "json_object"}, schema):
        assert prompting.render(Generate(messages=USER, response_format=wanted)).grammar is not None
        assert prompting.render(Generate(prompt="x", response_format=wanted)).grammar is not None
    assert prompting.render(Generate(messages=USER, response_format={"type": "text"})).grammar is None
    bad = {"type": "json_schema", "json_schema": {"type": "object", "not": {}}}
    with pytest.raises(PromptError, match="'not'") as caught:
        prompting.render(Generate(messages=USER, response_format=bad))
    assert (caught.value.code, caught.value.param) == (spec.REFUSED, "response_format")
    both = prompting.render(Generate(messages=USER, tools=TOOLS, tool_choice="required", response_format=schema))
    assert both.grammar is not None
    assert "look_up" in both.grammar.text


def test_a_grammar_of_ones_own() -> None:
    mine = GrammarSpec("root ::= [a-z]")
    assert Prompting({KEY: CHATML}).render(Generate(messages=USER, grammar=mine)).grammar is mine
