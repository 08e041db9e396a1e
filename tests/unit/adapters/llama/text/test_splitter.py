"""The whole way from bytes to events, independent of the pieces."""

import time

from hypothesis import given
from hypothesis import strategies as st

from adapters.llama.text import (
    Event,
    Reasoning,
    ReasoningMarkers,
    Splitter,
    SplitterOptions,
    Text,
    ToolArgs,
    ToolOptions,
    ToolStart,
)

THINK = ReasoningMarkers()
TOOLS = ToolOptions("hermes", ("f",))


def run(options: SplitterOptions, data: bytes, size: int) -> tuple[dict[str, str], str | None]:
    splitter = Splitter(options)
    events: list[Event] = []
    for at in range(0, len(data), size):
        events += splitter.feed(data[at : at + size])
    events += splitter.finish()
    out = {"text": "", "thought": "", "calls": ""}
    for event in events:
        match event:
            case Text(text):
                assert text
                out["text"] += text
            case Reasoning(text):
                assert text
                out["thought"] += text
            case ToolStart(index, _, name):
                out["calls"] += f"<{index}:{name}>"
            case ToolArgs(_, text):
                out["calls"] += text
    return out, splitter.stopped


def test_reasoning_then_text_then_call() -> None:
    options = SplitterOptions(reasoning=THINK, tools=TOOLS)
    data = '<think>hm — so</think>\n\nOK\n<tool_call>{"name":"f","arguments":{"é":1}}</tool_call>'.encode()
    expected = {"text": "OK", "thought": "hm — so", "calls": '<0:f>{"é":1}'}
    for size in (1, 2, 5, 1000):
        assert run(options, data, size) == (expected, None)


def test_stop_strings_apply_to_the_answer_only() -> None:
    options = SplitterOptions(stops=("END", "\n\n"), reasoning=THINK)
    for size in (1, 4, 1000):
        out, stopped = run(options, b"<think>a\n\nEND</think>b ENEND c", size)
        assert (out["thought"], out["text"], stopped) == ("a\n\nEND", "b EN", "END")


def test_stop_tail_is_flushed_before_a_call_and_at_the_end() -> None:
    options = SplitterOptions(stops=("abc",), tools=TOOLS)
    data = b'ab<tool_call>{"name":"f","arguments":{"x":"abc"}}</tool_call>ab'
    for size in (1, 1000):
        out, stopped = run(options, data, size)
        assert (out["text"], out["calls"], stopped) == ("abab", '<0:f>{"x":"abc"}', None)


def test_nothing_follows_a_stop() -> None:
    splitter = Splitter(SplitterOptions(stops=("x",)))
    assert splitter.feed(b"ax b") == [Text("a")]
    assert splitter.done
    assert splitter.stopped == "x"
    assert splitter.feed(b"c") == []
    assert splitter.finish() == []


def test_one_call_when_not_parallel_is_done() -> None:
    splitter = Splitter(SplitterOptions(tools=ToolOptions("hermes", ("f",), parallel=False)))
    splitter.feed(b'<tool_call>{"name":"f","arguments":{}')
    assert not splitter.done
    splitter.feed(b"}")
    assert splitter.done
    assert splitter.calls == 1


def test_reasoning_budget_counts_tokens_and_asks_for_the_end() -> None:
    markers = ReasoningMarkers(starts_inside=True)
    splitter = Splitter(SplitterOptions(reasoning=markers, max_reasoning=2))
    assert splitter.in_reasoning
    splitter.feed(b"a")
    assert not splitter.over_budget
    splitter.feed(b" b </th")
    assert splitter.over_budget
    splitter.feed(markers.close.encode())
    assert not splitter.over_budget
    assert splitter.reasoning_tokens == 3
    assert splitter.feed(b"answer") == [Text("answer")]


def test_finish_flushes_a_cut_character_and_held_text() -> None:
    splitter = Splitter(SplitterOptions(stops=("\ufffdz",)))
    splitter.feed(b"a\xf0\x9f")
    assert splitter.finish() == [Text("\ufffd")]
    splitter = Splitter(SplitterOptions(reasoning=THINK))
    assert splitter.feed(b"<thi") == []
    assert splitter.finish() == [Text("<thi")]


_SCRAPS = st.lists(
    st.sampled_from(
        ["<think>", "</think>", "<tool_call>", "</tool_call>", '{"name":"f","arguments":', "{}", "}", "STOP", "ST",
         "é", "🜚", " ", "\n", "word", "<", "OP"]
    ), max_size=12,
).map(lambda parts: "".join(parts).encode())  # fmt: skip


@given(_SCRAPS, st.integers(1, 7), st.booleans(), st.booleans(), st.booleans(), st.booleans())
def test_any_cut_equals_the_whole(data: bytes, size: int, stop: bool, think: bool, inside: bool, tools: bool) -> None:
    options = SplitterOptions(
        stops=("STOP", "\n\n") if stop else (),
        reasoning=ReasoningMarkers(starts_inside=inside) if think else None,
        tools=TOOLS if tools else None,
    )
    assert run(options, data, size) == run(options, data, 10_000)


def test_the_plain_case_is_cheap() -> None:
    pieces = [b" token"] * 20_000
    for options in (SplitterOptions(), SplitterOptions(stops=("STOP",), reasoning=THINK, tools=TOOLS)):
        splitter = Splitter(options)
        begin = time.perf_counter()
        for piece in pieces:
            splitter.feed(piece)
        per_token_us = (time.perf_counter() - begin) / len(pieces) * 1e6
        assert per_token_us < 50, per_token_us  # measured: 0.2 and 1.4; the bound only catches quadratic behaviour
