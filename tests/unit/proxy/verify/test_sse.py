"""A stream taken apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.verify.sse import parse


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_events_are_found_whatever_ends_the_lines(ending: str) -> None:
    body = 'data: {"a": "x\u2028y"}\n\ndata:{"a": 2}\n\n: note\n\ndata: [DONE]\n\n'.replace("\n", ending).encode()
    stream = parse(body)
    assert [chunk["a"] for chunk in stream.chunks] == ["x\u2028y", 2]
    assert [event.done for event in stream.events] == [False, False, False, True]
    assert stream.events[2].comment
    assert {line.ending for event in stream.events for line in event.lines} == {ending.encode()}
    assert stream.events[-1].end == len(body)


def test_several_data_lines_are_one_event_where_they_join_to_json() -> None:
    stream = parse(b'data: {"a":\ndata: 1}\n\n')
    assert stream.chunks == [{"a": 1}]
    assert stream.events[0].separated


def test_events_without_blank_lines_are_told_apart_all_the_same() -> None:
    stream = parse(b'data: {"a": 1}\ndata: {"a": 2}\ndata: [DONE]\n')
    assert [chunk["a"] for chunk in stream.chunks] == [1, 2]
    assert [event.separated for event in stream.events] == [False, False, False]


def test_what_is_broken_is_kept_and_hides_nothing() -> None:
    stream = parse(b'\xef\xbb\xbfdata: {"a"\n\ndata: \xff\n\nid: 3\ndata: {"a": 1}\n\ndata: {"a"')
    assert stream.bom
    assert stream.undecodable == b"data: \xff\n"
    assert stream.events[0].broken
    assert stream.chunks == [{"a": 1}]
    assert not stream.events[-1].separated


def test_chunks_end_at_done() -> None:
    assert parse(b'data: {"a": 1}\n\ndata: [DONE]\n\ndata: {"a": 2}\n\n').chunks == [{"a": 1}]


@pytest.mark.parametrize(
    "text",
    [
        'data: {"error": {"message": "x"}}',
        'data: {"error": "x"}',
        'data: [{"error": {"message": "x"}}]',
        'data: {"object": "error", "message": "x"}',
        'event: error\ndata: {"message": "x"}',
        'error: {"message": "x"}',
    ],
)
def test_an_error_is_seen_in_any_form(text: str) -> None:
    stream = parse(f'data: {{"a": 1}}\n\n{text}\n\n'.encode())
    assert stream.failure is stream.events[1]
    assert stream.chunks == [{"a": 1}]


@pytest.mark.parametrize("text", ['data: {"error": null}', "data: []", "data: 7", "data:", "event: ping"])
def test_what_is_no_error_is_none(text: str) -> None:
    assert parse(f"{text}\n\n".encode()).failure is None


@given(st.binary(max_size=200))
def test_any_bytes_can_be_taken_apart_and_no_line_is_lost(body: bytes) -> None:
    stream = parse(body)
    text = b"".join(line.raw for event in stream.events for line in event.lines)
    assert text == body.removeprefix(b"\xef\xbb\xbf").replace(b"\r", b"").replace(b"\n", b"")
