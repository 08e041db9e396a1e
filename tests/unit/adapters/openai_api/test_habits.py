"""A stream that is read with what others taught reads as if it were the first."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.openai_api.chat_stream import ChatStream
from adapters.openai_api.choices import Choice
from adapters.openai_api.habits import MAX_EVENT, MAX_FINISHES, MAX_HABITS, Habits
from proxy.errors import UpstreamError

USAGE = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}


def chunk(delta: Any, finish: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    head = {"id": "ID-1", "object": "chat.completion.chunk", "created": 1790000001, "model": "theirs"}
    return {**head, "choices": [choice], **more}


def written(*chunks: dict[str, Any], spaced: bool = False) -> bytes:
    separators = (", ", ": ") if spaced else (",", ":")
    lines = [json.dumps(one, separators=separators).encode() for one in chunks]
    return b"".join(b"data: " + line + b"\n\n" for line in [*lines, b"[DONE]"])


ROLE, WORDS, STOP = (
    chunk({"role": "assistant", "content": ""}),
    [chunk({"content": w}) for w in "abc"],
    chunk({}, "stop"),
)
COUNT = {**chunk({}), "choices": [], "usage": USAGE}
TOOL = chunk(
    {"tool_calls": [{"index": 0, "id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}
)
STREAMS = {
    "usual": written(ROLE, *WORDS, STOP, COUNT),
    "spaced": written(ROLE, *WORDS, STOP, COUNT, spaced=True),
    "null usage": written(*({**c, "usage": None} for c in (ROLE, *WORDS, STOP)), COUNT),
    "usage with the finish": written(ROLE, *WORDS, {**STOP, "usage": USAGE}),
    "text at once": written(*WORDS, STOP, COUNT),
    "text with the finish": written(ROLE, *WORDS, chunk({"content": "d"}, "stop"), COUNT),
    "no role": written(chunk({"content": ""}), *WORDS, STOP),
    "a tool": written(ROLE, TOOL, chunk({}, "tool_calls"), COUNT),
    "stop for a tool": written(ROLE, TOOL, STOP, COUNT),
    "length": written(ROLE, *WORDS, chunk({}, "length"), COUNT),
    "a fingerprint behind": written(*({**c, "system_fingerprint": "fp"} for c in (ROLE, *WORDS, STOP)), COUNT),
    "thinking": written(ROLE, chunk({"reasoning": "hm"}), *WORDS, STOP),
}


def read(raw: bytes, habits: Habits | None, *, usage: bool = False, by_event: bool = True) -> tuple[object, ...]:
    """All that can be seen of a stream: its bytes, how it ended, what it counted, how it failed."""
    chat = ChatStream(model="ours", call_id="x", upstream="up", wants_usage=usage, strip_thinking=False, habits=habits)
    pieces = [piece + b"\n\n" for piece in raw.split(b"\n\n")] if by_event else [raw]
    out, failed = b"", None
    try:
        for piece in pieces:
            out += chat.feed(piece)
        out += chat.end()
    except UpstreamError as error:
        failed = (error.fault, error.message)
    return out, chat.ending, chat.usage, failed


def later(raw: bytes) -> bytes:
    """The same again: another id, another second, other words."""
    return raw.replace(b"ID-1", b"ID-22").replace(b"1790000001", b"1790000777").replace(b'"b"', b'"bee"')


@pytest.mark.parametrize("usage", [False, True], ids=["no usage", "usage"])
@pytest.mark.parametrize("teacher", STREAMS)
@pytest.mark.parametrize("pupil", STREAMS)
def test_it_reads_as_if_it_were_the_first(teacher: str, pupil: str, usage: bool) -> None:
    habits = Habits()
    for by_event in (True, False):
        read(STREAMS[teacher], habits, usage=usage, by_event=by_event)
        raw = later(STREAMS[pupil])
        assert read(raw, habits, usage=usage, by_event=by_event) == read(raw, None, usage=usage, by_event=by_event)


@pytest.mark.parametrize("name", ["usual", "spaced", "null usage", "no role", "length", "a fingerprint behind"])
def test_a_second_stream_is_not_decoded_again(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[dict[str, Any]] = []
    original = Choice.normalised

    def spy(self: Choice, raw: dict[str, Any]) -> dict[str, Any] | None:
        decoded.append(raw)
        return original(self, raw)

    monkeypatch.setattr(Choice, "normalised", spy)
    habits = Habits()
    read(STREAMS[name], habits)
    assert len(decoded) >= 2, "the first has taught"
    decoded.clear()
    read(later(STREAMS[name]), habits)
    assert decoded == []


@settings(deadline=None, derandomize=True, max_examples=400)
@given(
    st.sampled_from(list(STREAMS)),
    st.integers(0, 2000),
    st.integers(0, 12),
    st.sampled_from(
        [b"", b'"', b"\\", b"0", b"}", b",", b"\n", b"\n\n", b'\\"', b"-", b'"usage":{"prompt_tokens":1},', b"x"]
    ),
)
def test_one_byte_more_or_less_is_another_event(name: str, at: int, gone: int, put: bytes) -> None:
    habits = Habits()
    read(STREAMS[name], habits)
    raw = later(STREAMS[name])
    at %= len(raw)
    raw = raw[:at] + put + raw[at + gone :]
    assert read(raw, habits) == read(raw, None)


def test_what_is_kept_has_bounds() -> None:
    habits = Habits()
    for number in range(MAX_HABITS + 5):
        chat = ChatStream(
            model=f"m{number}", call_id="x", upstream="up", wants_usage=False, strip_thinking=False, habits=habits
        )
        chat.feed(STREAMS["usual"])
    assert habits.of(("m0", False)) is None
    kept = habits.of((f"m{MAX_HABITS + 4}", False))
    assert kept is not None
    for number in range(3 * MAX_FINISHES):
        read(written(ROLE, {**STOP, "number": number}), habits)
    known = habits.of(("ours", False))
    assert known is not None
    assert 0 < len(known._finishes) <= MAX_FINISHES
    read(written({**ROLE, "long": "x" * MAX_EVENT}, STOP), other := Habits())
    assert other.of(("ours", False)) is None
