"""The framing of a stream, right and wrong."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.mock.faults import EVENT_SHAPES, fault
from proxy.mock.frames import DONE, deframe, error_event, frame, split

CHUNKS = [{"id": "c", "n": number, "text": "già\u2028"} for number in range(4)]


def body(name: str, **params: object) -> bytes:
    return b"".join(deframe(frame(CHUNKS), [fault(name, **params)]))


def test_a_clean_stream_is_one_line_an_event_and_then_done() -> None:
    pieces = frame(CHUNKS)
    assert pieces[-1] == DONE
    for piece, chunk in zip(pieces, CHUNKS, strict=False):
        assert piece.startswith(b"data: ")
        assert piece.endswith(b"\n\n")
        assert piece.count(b"\n") == 2
        assert msgspec.json.decode(piece[6:]) == chunk


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("crlf", b"}\r\n\r\ndata: [DONE]\r\n\r\n"),
        ("cr", b"}\r\rdata: [DONE]\r\r"),
        ("no_space", b"}\n\ndata:[DONE]\n\n"),
        ("single_newline", b"}\ndata: [DONE]\n"),
        ("comments", b"}\n\n: processing\n\ndata: [DONE]\n\n"),
        ("id_lines", b"}\n\nid: 4\ndata: [DONE]\n\n"),
        ("event_lines", b"}\n\nevent: message\ndata: [DONE]\n\n"),
        ("two_dones", b"data: [DONE]\n\ndata: [DONE]\n\n"),
        ("unterminated", b"}\n\ndata: [DONE]\n"),
        ("no_done", '"n":3,"text":"già\u2028"}\n\n'.encode()),
        ("after_done", 'data: [DONE]\n\ndata: {"id":"c","n":1,"text":"già\u2028"}\n\n'.encode()),
    ],
)
def test_the_end_of_a_stream_with_a_fault(name: str, expected: bytes) -> None:
    assert body(name).endswith(expected)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bom", b"\xef\xbb\xbfdata: {"),
        ("retry_line", b"retry: 3000\n\ndata: {"),
        ("multi_line", b'data: {"id":"c",\ndata: "n":0'),
    ],
)
def test_the_begin_of_a_stream_with_a_fault(name: str, expected: bytes) -> None:
    assert body(name).startswith(expected)


@pytest.mark.parametrize(
    ("name", "piece"),
    [("ping", b"event: ping\n\n"), ("empty_data", b"data:\n\n"), ("bad_json", b"del\n\n"), ("bad_utf8", b"\xff\xfe")],
)
@pytest.mark.parametrize("after", [0, 1, 99])
def test_an_event_put_in_between_stays_before_done(name: str, piece: bytes, after: int) -> None:
    pieces = deframe(frame(CHUNKS), [fault(name, after=after)])
    assert len(pieces) == 6
    assert piece in pieces[min(after, 4)]
    assert pieces[-1] == DONE


def test_several_data_lines_join_to_the_same_json() -> None:
    piece = deframe(frame(CHUNKS[:1]), [fault("multi_line")])[0]
    lines = [line.removeprefix(b"data: ") for line in piece.split(b"\n") if line]
    assert len(lines) == 2
    assert msgspec.json.decode(b"\n".join(lines)) == CHUNKS[0]


def test_events_are_doubled_and_swapped() -> None:
    pieces = frame(CHUNKS)
    assert deframe(pieces, [fault("duplicate", after=1)]) == [*pieces[:2], pieces[1], *pieces[2:]]
    assert deframe(pieces, [fault("reorder", after=1)]) == [pieces[0], pieces[2], pieces[1], *pieces[3:]]
    assert deframe(pieces, [fault("reorder", after=4)]) == pieces


@pytest.mark.parametrize("shape", EVENT_SHAPES)
@pytest.mark.parametrize("done", [True, False])
def test_an_error_ends_the_stream(shape: str, done: bool) -> None:
    pieces = deframe(frame(CHUNKS), [fault("error_event", after=2, shape=shape, done=done)])
    assert pieces[:2] == frame(CHUNKS)[:2]
    assert pieces[2] == error_event(shape, "server_error")
    assert pieces[3:] == ([DONE] if done else [])
    assert b"the model stopped" in pieces[2]


def test_the_shapes_of_errors_differ() -> None:
    assert len({error_event(shape, "x") for shape in EVENT_SHAPES}) == len(EVENT_SHAPES)


def test_faults_add_up() -> None:
    both = b"".join(deframe(frame(CHUNKS), [fault("no_done"), fault("crlf")]))
    assert both.endswith(b"}\r\n\r\n")
    assert b"[DONE]" not in both


@given(st.lists(st.sampled_from([b"data: x\n\n", b"data: y\r\n\r\n", b": c\r\r", b"tail", b"\n", b"\r"])))
def test_a_recording_splits_into_pieces_that_join_to_it(parts: list[bytes]) -> None:
    recorded = b"".join(parts)
    assert b"".join(split(recorded)) == recorded


def test_a_recording_splits_behind_blank_lines() -> None:
    assert split(b"data: a\n\ndata: b\r\n\r\n: c\n\nrest") == [b"data: a\n\n", b"data: b\r\n\r\n", b": c\n\n", b"rest"]
