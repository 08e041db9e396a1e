"""The splitter, cut at every byte and in every mixture of line ends; framing of what callers get."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy import stream
from proxy.errors import RateExceeded
from proxy.stream import EventTooLarge, Splitter, events

LINES = [
    "data: one",
    "data: two\u2028 \u0085à",
    "",
    ": note",
    "",
    "event: e",
    "data:x",
    "data:  y",
    "",
    "data: last",
    "",
]
ENDS = ["\n", "\r\n", "\r"]


def split(pieces: list[bytes]) -> tuple[list[bytes], bytes]:
    splitter = Splitter()
    blocks = [splitter.feed(piece) for piece in pieces]
    for block in blocks:
        assert not block or block.endswith(b"\n\n")
        assert b"\r" not in block
    return [block for block in blocks if block], splitter.rest()


def told(pieces: list[bytes]) -> list[tuple[bytes | None, str]]:
    blocks, rest = split(pieces)
    return [(event.data, event.name) for block in [*blocks, rest] for event in events(block)]


EXPECTED = [
    (b"one\n" + "two\u2028 \u0085à".encode(), ""),
    (b"x\n y", "e"),
    (b"last", ""),
]


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"], ids=["", "bom"])
@pytest.mark.parametrize("end", ENDS, ids=["lf", "crlf", "cr"])
def test_every_split_point(end: str, bom: bytes) -> None:
    raw = bom + "".join(line + end for line in LINES).encode()
    assert told([raw]) == EXPECTED
    assert told([raw[i : i + 1] for i in range(len(raw))]) == EXPECTED
    for first in range(len(raw)):
        for second in range(first, min(first + 5, len(raw))):
            assert told([raw[:first], raw[first:second], raw[second:]]) == EXPECTED


@settings(deadline=None, derandomize=True, max_examples=300)
@given(
    st.lists(st.sampled_from(ENDS), min_size=len(LINES), max_size=len(LINES)),
    st.lists(st.integers(1, 9)),
    st.booleans(),
)
def test_mixed_line_ends(ends: list[str], sizes: list[int], bom: bool) -> None:
    raw = (b"\xef\xbb\xbf" if bom else b"") + "".join(a + b for a, b in zip(LINES, ends, strict=True)).encode()
    # `\r` in front of an empty line that ends with `\n` is one line end, not two: the standard's reading is the measure.
    text = raw.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    expected = [(event.data, event.name) for event in events(text if text.endswith(b"\n\n") else text + b"\n")]
    pieces, at = [], 0
    for size in sizes:
        pieces.append(raw[at : at + size])
        at += size
    assert told([piece for piece in [*pieces, raw[at:]] if piece]) == expected


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.binary(max_size=60), st.lists(st.integers(1, 7)))
def test_any_bytes_in_any_pieces(raw: bytes, sizes: list[int]) -> None:
    pieces, at = [], 0
    for size in sizes:
        pieces.append(raw[at : at + size])
        at += size
    assert told([piece for piece in [*pieces, raw[at:]] if piece]) == told([raw] if raw else [])


def test_an_event_is_given_as_soon_as_it_is_whole() -> None:
    splitter = Splitter()
    assert splitter.feed(b"data: a\r\n\r") == b""
    assert splitter.feed(b"\n") == b"data: a\n\n"
    assert splitter.feed(b"data: b\n\ndata: c") == b"data: b\n\n"
    assert splitter.rest() == b"data: c\n\n"
    assert splitter.rest() == b""


def test_an_event_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "MAX_EVENT", 10)
    splitter = Splitter()
    splitter.feed(b"data: 1234\n\n")
    splitter.feed(b"data: 1234")
    with pytest.raises(EventTooLarge):
        splitter.feed(b"5")


def test_events_of_a_block() -> None:
    found = events(b": c\n\nid: 1\nretry: 5\n\nevent: ping\n\ndata\n\ndata: [DONE]\n\nerror: {}\n\n")
    assert [(e.data, e.name, e.stray) for e in found] == [
        (None, "ping", None),
        (b"", "", None),
        (b"[DONE]", "", None),
        (None, "", b"{}"),
    ]


def test_frames() -> None:
    assert stream.frame({"a": "\u2028\n"}) == 'data: {"a":"\u2028\\n"}\n\n'.encode()
    assert stream.comment("loading\n\ndata: x") == b": loading data: x\n\n"
    assert stream.KEEPALIVE.startswith(b":")
    error = RateExceeded("slow", param="p", details={"left": 0})
    body = json.loads(stream.error_frame(error).removeprefix(b"data: "))
    assert body == {
        "error": {
            "message": "slow",
            "type": "rate_limit_error",
            "param": "p",
            "code": "rate_limit_exceeded",
            "details": {"left": 0},
        }
    }
