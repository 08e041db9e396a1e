"""Calls are read out of JSON in any key order and wrapping, and never told before they are certain."""

import json

import pytest

from adapters.llama.text.callscan import CallScan


class Sink:
    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.ended: list[int] = []

    def begin(self, name: str) -> int:
        self.calls.append([name, ""])
        return len(self.calls) - 1

    def arguments(self, index: int, text: str) -> None:
        self.calls[index][1] += text

    def end(self, index: int) -> None:
        self.ended.append(index)


def _run(text: str, size: int, names: frozenset[str] | None = None) -> tuple[Sink, CallScan, int]:
    sink = Sink()
    scan = CallScan(sink, names)
    used = 0
    for at in range(0, len(text), size):
        piece = text[at : at + size]
        count = scan.feed(piece)
        used += count
        if count < len(piece) or scan.done or scan.broken:
            break
    return sink, scan, used


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ('{"name": "f", "arguments": {"a": [1, "}"]}}', [["f", '{"a": [1, "}"]}']]),
        ('{"arguments": {"a":1}, "name": "f"}', [["f", '{"a":1}']]),
        ('{"name":"f","parameters":{}}', [["f", "{}"]]),
        ('{"name":"f"}', [["f", "{}"]]),
        ('{"name":"f","arguments":null}', [["f", "{}"]]),
        ('{"name":"f","arguments":"{\\"a\\":1}"}', [["f", '{"a":1}']]),
        ('{"id":"7","type":"function","function":{"name":"f","arguments":{}}}', [["f", "{}"]]),
        ('{"function":"f","arguments":{}}', [["f", "{}"]]),
        ('{"tool_calls":[{"name":"f","arguments":{}},{"name":"g","arguments":[1]}]}', [["f", "{}"], ["g", "[1]"]]),
        ('{"tool_call":{"name":"f","arguments":{"x":"\\u00e9"}}}', [["f", '{"x":"\\u00e9"}']]),
        ('[{"name":"f","arguments":{},"id":"abcdefghi"}, {"name":"g","arguments":{}}]', [["f", "{}"], ["g", "{}"]]),
        ('{"name":"f\\u0062","name":"g","x":[{}],"arguments":{"b":1},"arguments":{}}', [["fb", '{"b":1}']]),
    ],
)
def test_shapes(text: str, calls: list[list[str]], size: int) -> None:
    sink, scan, used = _run(text + " tail", size)
    assert sink.calls == calls
    assert scan.done
    assert used == len(text)
    assert sink.ended == list(range(len(calls)))


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize(
    "text", ['{"age": 3}', "{name: 1}", "[1]", '{"arguments": {}}', "{}", '{"name": "other"}', '{"name":""}', "{,}"]
)
def test_not_calls(text: str, size: int) -> None:
    sink, scan, _ = _run(text, size, frozenset({"f"}))
    assert sink.calls == []
    assert scan.broken


def test_a_bare_answer_is_told_only_with_its_arguments() -> None:
    sink, scan = Sink(), None
    scan = CallScan(sink, frozenset({"f"}))
    scan.feed('{"name": "f", ')
    assert sink.calls == []
    scan.feed('"parameters": {"q"')
    assert sink.calls == [["f", '{"q"']]


def test_a_missing_last_brace_ends_the_call() -> None:
    sink, scan, used = _run('{"name":"f","arguments":{"a":1}</tool_call>', 1000)
    assert scan.done
    assert sink.calls == [["f", '{"a":1}']]
    assert json.loads(sink.calls[0][1]) == {"a": 1}
    assert used == len('{"name":"f","arguments":{"a":1}')
