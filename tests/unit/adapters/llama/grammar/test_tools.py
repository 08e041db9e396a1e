"""Tool-call grammars: what they let through is exactly what the splitter of the same family reads as calls."""

import importlib.util
import json
import random
import re
import subprocess
import sys
from typing import Any

import pytest

from adapters.llama.grammar import from_tools
from adapters.llama.grammar.errors import UnsupportedSchema
from adapters.llama.text import FAMILIES, Splitter, SplitterOptions, Text, ToolArgs, ToolOptions, ToolStart
from fakes.gbnf import Grammar
from fakes.schema_suite import is_valid

WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 8}, "unit": {"enum": ["°C", "F"]}},
    "required": ["city"],
    "additionalProperties": False,
}
ADD = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "required": ["a", "b"]}


def _tool(name: str, parameters: Any = None, **more: Any) -> dict[str, Any]:
    function = {"name": name, "description": "d", **more}
    if parameters is not None:
        function["parameters"] = parameters
    return {"type": "function", "function": function}


TOOLS = [_tool("get_weather", WEATHER), _tool("add", ADD), _tool("now")]
SCHEMAS = {"get_weather": WEATHER, "add": ADD, "now": {"type": "object", "maxProperties": 0}}


def _calls(family: str, text: str) -> list[tuple[str, Any]]:
    splitter = Splitter(SplitterOptions(tools=ToolOptions(family, tuple(SCHEMAS))))
    events = [event for char in text for event in splitter.feed(char.encode())] + splitter.finish()
    calls: list[list[str]] = []
    for event in events:
        match event:
            case ToolStart(index, _, name):
                assert index == len(calls)
                calls.append([name, ""])
            case ToolArgs(index, piece):
                calls[index][1] += piece
            case Text(piece):
                assert not piece.strip(), piece
    return [(name, json.loads(arguments)) for name, arguments in calls]


@pytest.mark.parametrize("parallel", [True, False])
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_what_is_written_is_read_as_valid_calls(family: str, parallel: bool) -> None:
    gbnf = from_tools(TOOLS, "required", family, parallel)
    assert gbnf is not None
    assert gbnf.triggers == ()
    grammar, rng = Grammar(gbnf.text), random.Random(family)
    counts = set()
    for budget in [30] * 20 + [300] * 40:
        text = grammar.sample(rng, budget)
        calls = _calls(family, text)
        counts.add(len(calls))
        assert calls, text
        for name, arguments in calls:
            assert is_valid(SCHEMAS[name], arguments), text
    assert (max(counts) > 1) == parallel


EXAMPLES = {
    "hermes": '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Oslo"}}\n</tool_call>',
    "llama3": '{"name": "get_weather", "parameters": {"city": "Oslo"}}',
    "mistral": '[TOOL_CALLS] [{"name": "get_weather", "arguments": {"city": "Oslo"}}]',
    "mistral_args": '[TOOL_CALLS]get_weather[ARGS]{"city": "Oslo"}',
    "generic": '{"name": "get_weather", "arguments": {"city": "Oslo"}}',
}


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_the_form_that_models_were_taught_is_taken(family: str) -> None:
    text = EXAMPLES[family]
    assert _calls(family, text) == [("get_weather", {"city": "Oslo"})]
    for choice in ("required", "auto", {"type": "function", "function": {"name": "get_weather"}}):
        gbnf = from_tools(TOOLS, choice, family)
        assert gbnf is not None
        assert Grammar(gbnf.text).accepts(text)
    named = from_tools(TOOLS, {"type": "function", "function": {"name": "add"}}, family)
    assert named is not None
    assert not Grammar(named.text).accepts(text)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_the_trigger_of_auto_is_where_the_grammar_begins(family: str) -> None:
    gbnf = from_tools(TOOLS, "auto", family)
    assert gbnf is not None
    text = EXAMPLES[family]
    lead = "" if FAMILIES[family].bare else "Let me see.\n"
    matches = [re.compile(trigger.encode()).search((lead + text).encode()) for trigger in gbnf.triggers]
    (match,) = [match for match in matches if match]
    assert match.start(1) == len(lead)
    assert not any(re.search(trigger, "The answer is {42}.") for trigger in gbnf.triggers)
    assert not any(re.search(trigger, '{"name": "Maya"}') for trigger in gbnf.triggers)


def test_llama_variants() -> None:
    gbnf = from_tools(TOOLS, "required", "llama3")
    assert gbnf is not None
    grammar = Grammar(gbnf.text)
    assert grammar.accepts('<|python_tag|>{"type": "function", "name": "now", "parameters": {}}')
    assert grammar.accepts('{"name": "now", "parameters": {}}; {"name": "add", "parameters": {"a": 1, "b": 2}}')


def test_mistral_ids_and_generic_lists() -> None:
    mistral = from_tools(TOOLS, "required", "mistral")
    generic = from_tools(TOOLS, "required", "generic")
    assert mistral is not None
    assert generic is not None
    assert Grammar(mistral.text).accepts('[TOOL_CALLS][{"name": "now", "arguments": {}, "id": "abcDEF123"}]')
    assert Grammar(generic.text).accepts('{"tool_calls": [{"name": "now", "arguments": {}}]}')
    single = from_tools(TOOLS, "auto", "generic", parallel=False)
    assert single is not None
    assert not Grammar(single.text).accepts('{"tool_calls": [{"name": "now", "arguments": {}}]}')
    assert len(single.triggers) == 1


def test_choices() -> None:
    assert from_tools(TOOLS, "none", "hermes") is None
    assert from_tools([], "auto", "hermes") is None
    assert from_tools(TOOLS, None, "hermes") == from_tools(TOOLS, "auto", "hermes")
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [_tool("now")]}}
    gbnf = from_tools(TOOLS, allowed, "hermes")
    assert gbnf is not None
    assert gbnf.triggers == ()
    assert Grammar(gbnf.text).accepts('<tool_call>{"name": "now", "arguments": {}}</tool_call>')
    assert not Grammar(gbnf.text).accepts(EXAMPLES["hermes"])
    for wrong in ({"function": {"name": "nope"}}, "sometimes", {"function": None}):
        with pytest.raises(UnsupportedSchema, match="tool_choice"):
            from_tools(TOOLS, wrong, "hermes")
    for tool in ("x", {"function": {}}, {"function": {"name": ""}}):
        with pytest.raises(UnsupportedSchema, match=r"tools\[0\]"):
            from_tools([tool], "auto", "hermes")  # type: ignore[list-item]


def test_only_a_strict_tool_is_refused_for_its_schema() -> None:
    odd = {"type": "object", "properties": {"a": {"not": {}}}}
    gbnf = from_tools([_tool("f", odd)], "required", "hermes")
    assert gbnf is not None
    assert Grammar(gbnf.text).accepts('<tool_call>{"name": "f", "arguments": {"anything": [1]}}</tool_call>')
    with pytest.raises(UnsupportedSchema) as caught:
        from_tools([_tool("f", odd, strict=True)], "required", "hermes")
    assert (caught.value.keyword, caught.value.path) == ("not", "f: /properties/a")


def test_parameters_without_a_type_are_objects() -> None:
    for parameters in ({"properties": {"a": {"type": "null"}}}, {}):
        gbnf = from_tools([_tool("f", parameters)], "required", "mistral_args")
        assert gbnf is not None
        assert Grammar(gbnf.text).accepts('[TOOL_CALLS]f[ARGS]{"a": null}')
        assert not Grammar(gbnf.text).accepts("[TOOL_CALLS]f[ARGS]null")


@pytest.mark.skipif(importlib.util.find_spec("llama_cpp") is None, reason="llama_cpp is not installed")
def test_a_tool_that_declares_no_arguments_gets_none() -> None:
    """LangChain and others send `properties: {}`: nothing is made up for it. An open object may still be filled."""
    call = '<tool_call>{"name": "now", "arguments": %s}</tool_call>'
    for parameters, taken in (
        ({"type": "object", "properties": {}}, False),
        ({"properties": {}}, False),
        ({"type": "object", "properties": {}, "additionalProperties": True}, True),
        ({"type": "object"}, True),
    ):
        made = from_tools([_tool("now", parameters)], "required", "hermes", False)
        assert made is not None
        grammar = Grammar(made.text)
        assert grammar.accepts(call % "{}")
        assert grammar.accepts(call % '{"city": "Oslo"}') is taken


def test_llama_cpp_takes_them_all() -> None:
    texts = []
    for family in FAMILIES:
        for parallel in (True, False):
            gbnf = from_tools(TOOLS, "required", family, parallel)
            assert gbnf is not None
            texts.append(gbnf.text)
    script = (
        "import json, sys, llama_cpp.llama_cpp as lib\n"
        "print(sum(bool(lib.llama_sampler_init_grammar(None, text.encode(), b'root')) for text in json.load(sys.stdin)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.split() == [str(len(texts))], done.stderr[-2_000:]
