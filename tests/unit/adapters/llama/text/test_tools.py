"""Tool calls of each family, whole and in pieces; what is no call comes back as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.llama.text.events import Event, Text, ToolArgs, ToolStart
from adapters.llama.text.families import FAMILIES
from adapters.llama.text.tools import ToolSplit

NAMES = frozenset({"f", "g"})


def run(family: str, text: str, size: int, parallel: bool = True) -> list[tuple[str, ...]]:
    """Events as tuples without ids, neighbours joined."""
    split = ToolSplit(FAMILIES[family], NAMES, parallel)
    events: list[Event] = []
    for at in range(0, len(text), size):
        events += split.feed(text[at : at + size])
    return joined(events + split.finish())


def joined(events: list[Event]) -> list[tuple[str, ...]]:
    out: list[tuple[str, ...]] = []
    for event in events:
        if isinstance(event, Text):
            new = ("text", event.text)
        elif isinstance(event, ToolStart):
            assert event.id.startswith("call_")
            new = (f"start{event.index}", event.name)
        else:
            assert isinstance(event, ToolArgs)
            new = (f"args{event.index}", event.text)
        if out and out[-1][0] == new[0]:
            out[-1] = (new[0], out[-1][1] + new[1])
        else:
            out.append(new)
    return out


CASES = [
    ("hermes", 'Sure.\n<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>',
     [("text", "Sure."), ("start0", "f"), ("args0", '{"a": 1}')]),
    ("hermes", '<tool_call>{"name":"f","arguments":{}}</tool_call>\n<tool_call>{"arguments":{"b":2},"name":"g"}</tool_call>\n',
     [("start0", "f"), ("args0", "{}"), ("start1", "g"), ("args1", '{"b":2}')]),
    ("hermes", '<tool_call>{"name":"f","arguments":{"s":"</tool_call>"}}</tool_call> ] done',
     [("start0", "f"), ("args0", '{"s":"</tool_call>"}'), ("text", "] done")]),
    ("hermes", '<tool_call>{"name":"f","arguments":{"a":1}</tool_call>after',
     [("start0", "f"), ("args0", '{"a":1}'), ("text", "after")]),
    ("hermes", '<tool_call>{"name":"f","arguments":{"a":1}}}</tool_call>', [("start0", "f"), ("args0", '{"a":1}')]),
    ("hermes", "a <tool_call>oops</tool_call> b", [("text", "a <tool_call>oops</tool_call> b")]),
    ("hermes", 'a <tool_call>{"name', [("text", 'a <tool_call>{"name')]),
    ("hermes", '<tool_call>{"name":"f","arguments":{"a', [("start0", "f"), ("args0", '{"a')]),
    ("hermes", "just text <tool \n", [("text", "just text <tool \n")]),
    ("hermes", "  \n", [("text", "  \n")]),
    ("hermes", '{"name":"f","arguments":{}}', [("text", '{"name":"f","arguments":{}}')]),
    ("llama3", '{"name": "f", "parameters": {"a": 1}}', [("start0", "f"), ("args0", '{"a": 1}')]),
    ("llama3", '\n{"type": "function", "name": "f", "parameters": {}}; {"name": "g", "parameters": {}}',
     [("start0", "f"), ("args0", "{}"), ("start1", "g"), ("args1", "{}")]),
    ("llama3", '<|python_tag|>{"name": "f", "parameters": {}}', [("start0", "f"), ("args0", "{}")]),
    ("llama3", '<|python_tag|>f.call(x=1)', [("text", "<|python_tag|>f.call(x=1)")]),
    ("llama3", '{"name": "Maya", "age": 3}', [("text", '{"name": "Maya", "age": 3}')]),
    ("llama3", '{"name": "f", "age": 3}', [("text", '{"name": "f", "age": 3}')]),
    ("llama3", 'Hi {"name": "f", "parameters": {}}', [("text", 'Hi {"name": "f", "parameters": {}}')]),
    ("mistral", '[TOOL_CALLS] [{"name": "f", "arguments": {"a": "]"}, "id": "123456789"}, {"name":"g","arguments":{}}]',
     [("start0", "f"), ("args0", '{"a": "]"}'), ("start1", "g"), ("args1", "{}")]),
    ("mistral", 'ok [TOOL_CALLS]f[ARGS]{"a": {}}[TOOL_CALLS]g[CALL_ID]abc123def[ARGS]{}',
     [("text", "ok"), ("start0", "f"), ("args0", '{"a": {}}'), ("start1", "g"), ("args1", "{}")]),
    ("mistral", '[TOOL_CALLS]f{"a": 1} then', [("start0", "f"), ("args0", '{"a": 1}'), ("text", "then")]),
    ("mistral", "[TOOL_CALLS] is a marker, you see", [("text", "[TOOL_CALLS] is a marker, you see")]),
    ("mistral", "[TOOL_CALLS]f", [("text", "[TOOL_CALLS]f")]),
    ("generic", '{"tool_calls": [{"name":"f","arguments":{}},{"name":"g","arguments":{}}]}',
     [("start0", "f"), ("args0", "{}"), ("start1", "g"), ("args1", "{}")]),
    ("generic", '{"name": "f", "arguments": {"x": 1}}\n', [("start0", "f"), ("args0", '{"x": 1}')]),
    ("generic", "[1] is a citation", [("text", "[1] is a citation")]),
    ("generic", "  hello", [("text", "  hello")]),
]  # fmt: skip


@pytest.mark.parametrize("size", [1, 2, 3, 8, 10_000])
@pytest.mark.parametrize(("family", "text", "expected"), CASES)
def test_family(family: str, text: str, expected: list[tuple[str, ...]], size: int) -> None:
    assert run(family, text, size) == expected


@pytest.mark.parametrize("size", [1, 10_000])
def test_one_call_only_when_not_parallel(size: int) -> None:
    text = '<tool_call>{"name":"f","arguments":{}}</tool_call><tool_call>{"name":"g","arguments":{}}</tool_call>'
    assert run("hermes", text, size, parallel=False) == [("start0", "f"), ("args0", "{}")]
    text = '[TOOL_CALLS][{"name":"f","arguments":{}},{"name":"g","arguments":{}}]'
    assert run("mistral", text, size, parallel=False) == [("start0", "f"), ("args0", "{}")]


def test_name_comes_as_soon_as_it_is_complete_and_arguments_as_they_come() -> None:
    split = ToolSplit(FAMILIES["hermes"], NAMES)
    assert split.feed('<tool_call>{"name": "f') == []
    (start,) = split.feed('"')
    assert isinstance(start, ToolStart)
    assert (start.index, start.name) == (0, "f")
    assert split.feed(', "arguments": {"ci') == [ToolArgs(0, '{"ci')]
    assert split.feed('ty": 1') == [ToolArgs(0, 'ty": 1')]
    assert split.feed("}}") == [ToolArgs(0, "}")]


_SCRAPS = st.lists(
    st.sampled_from(
        ["<tool_call>", "</tool_call>", "[TOOL_CALLS]", "<|python_tag|>", "[ARGS]", '{"name":', '"f"', ',"arguments":',
         '{"a":"x"}', "}", "]", "[", "{", ",", ";", " ", "\n", "word", '"', "\\", "f", '"parameters":', "null", ":"]
    ), max_size=14,
).map("".join)  # fmt: skip


@given(st.sampled_from(sorted(FAMILIES)), _SCRAPS, st.integers(1, 6), st.booleans())
def test_any_cut_equals_the_whole(family: str, text: str, size: int, parallel: bool) -> None:
    assert run(family, text, size, parallel) == run(family, text, 10_000, parallel)
