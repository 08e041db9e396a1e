"""What we say for models that say nothing is itself a sound template and a form that we parse."""

from adapters.llama.chat.defaults import DEFAULT_TEMPLATE, tool_text
from adapters.llama.chat.template import CompiledTemplate
from adapters.llama.chat.traits import describe
from adapters.llama.text import FAMILIES, Splitter, SplitterOptions, ToolOptions, ToolStart

TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}


def test_the_default_template_can_do_everything() -> None:
    traits = describe(CompiledTemplate(DEFAULT_TEMPLATE))
    assert traits.system
    assert traits.tools
    assert traits.tool_calls
    assert traits.tool_role
    assert traits.object_arguments
    assert traits.family == "hermes"


def test_the_tool_text_asks_for_what_the_generic_family_parses() -> None:
    text = tool_text([TOOL], parallel=True)
    assert '{"name": "f", "description": "d", "parameters": {"type": "object"}}' in text
    for form in ('{"name": "f", "arguments": {}}', '{"tool_calls": [{"name": "f", "arguments": {}}]}'):
        splitter = Splitter(SplitterOptions(tools=ToolOptions("generic", ("f",))))
        events = splitter.feed(form.encode()) + splitter.finish()
        assert isinstance(events[0], ToolStart)
    assert "tool_calls" not in tool_text([TOOL], parallel=False)
    assert FAMILIES["generic"].args_key == "arguments"
