"""Views of what was seen."""

import gzip
from typing import Any

import pytest

from proxy.verify.http1 import Response
from proxy.verify.seen import Fail, Seen, Skip, choices, clip, deltas


def test_what_was_not_asked_is_skipped_with_its_reason() -> None:
    seen = Seen("m", skipped={"bad_key": "no key"})
    with pytest.raises(Skip, match="no key"):
        seen.answer("bad_key")
    with pytest.raises(Skip, match="plain was not asked"):
        seen.json("plain")


@pytest.mark.parametrize(
    ("status", "kind"), [(400, Skip), (404, Skip), (422, Skip), (429, Fail), (500, Fail), (307, Fail)]
)
def test_a_refusal_is_skipped_and_a_failure_is_not(desk: Any, status: int, kind: type[Exception]) -> None:
    desk.json("plain", {"error": "no"}, status)
    with pytest.raises(kind, match=str(status)):
        desk.seen.json("plain")


def test_an_answer_that_is_cut_off_is_a_failure(desk: Any) -> None:
    response = Response()
    response.feed(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}", 0)
    response.stop("closed", 1)
    desk.seen.answers["plain"] = response
    with pytest.raises(Fail, match="closed after 2 body bytes"):
        desk.seen.json("plain")


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"text"])
def test_what_is_no_json_object_is_a_failure(desk: Any, body: bytes) -> None:
    desk.answer("plain", body)
    with pytest.raises(Fail, match="no JSON"):
        desk.seen.json("plain")


def test_compressed_bodies_are_read(desk: Any) -> None:
    desk.answer("plain", gzip.compress(b'{"a": 1}'), content_encoding="gzip")
    assert desk.seen.json("plain") == {"a": 1}
    desk.answer("plain", b'{"a": 2}', content_encoding="gzip")  # says so, and is not
    assert desk.seen.json("plain") == {"a": 2}


def test_streams_are_those_that_say_so(desk: Any) -> None:
    desk.stream(
        "stream", {"choices": [{"index": 0, "delta": {"content": "a"}}, {"index": 1, "delta": {"content": "b"}}]}
    )
    desk.json("stream_bare", {})
    assert list(desk.seen.streams) == ["stream"]
    assert [delta["content"] for delta in deltas(desk.seen.stream("stream"), 1)] == ["b"]
    with pytest.raises(Fail, match="application/json"):
        desk.seen.stream("stream_bare")


@pytest.mark.parametrize("value", [{}, {"choices": None}, {"choices": 7}, {"choices": [None, 7]}])
def test_choices_that_are_none_are_none(value: dict[str, Any]) -> None:
    assert choices(value) == []


def test_evidence_is_short_and_readable() -> None:
    assert clip(b"\xff\n") == "b'\\xff\\n'"
    assert clip({"a": [1]}) == '{"a":[1]}'
    assert len(clip("x" * 1000)) == 160
