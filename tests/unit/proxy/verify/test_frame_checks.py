"""Edges of the checks on framing."""

from typing import Any

import pytest

from proxy.verify.http1 import Response

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
CHUNK = b'data: {"choices": []}\n\n'


def put(desk: Any, *timed: tuple[float, bytes]) -> None:
    response = Response()
    response.feed(HEAD, 0.0)
    for at, data in timed:
        response.feed(b"%x\r\n%b\r\n" % (len(data), data), at)
    response.feed(b"0\r\n\r\n", timed[-1][0])
    desk.put("stream", response)


@pytest.mark.parametrize(("at", "outcome"), [(0.1, "fail"), (5.0, "fail"), (15.0, "pass"), (16.0, "pass")])
def test_a_comment_is_fine_after_a_long_silence(desk: Any, at: float, outcome: str) -> None:
    put(desk, (0.0, CHUNK), (at, b": keepalive\n\n"), (at + 1, CHUNK))
    assert desk.verdict("sse.comments").outcome == outcome


def test_a_second_comment_waits_again(desk: Any) -> None:
    put(desk, (0.0, CHUNK), (15.0, b": keepalive\n\n"), (16.0, b": keepalive\n\n"))
    assert "after 1.0 s of silence" in desk.verdict("sse.comments").evidence


@pytest.mark.parametrize(
    ("line", "outcome"),
    [(b"data: {}", "pass"), (b"data:{}", "fail"), (b"data:  {}", "fail"), (b"data:", "pass"), (b"data", "pass")],
)
def test_one_space(desk: Any, line: bytes, outcome: str) -> None:
    put(desk, (0.0, line + b"\n\n"))
    assert desk.verdict("sse.space").outcome == outcome


@pytest.mark.parametrize("line", [b"data:", b"data: ", b"data", b"data:   "])
def test_empty_data_in_all_its_forms(desk: Any, line: bytes) -> None:
    put(desk, (0.0, CHUNK + line + b"\n\n"))
    assert desk.verdict("sse.empty").outcome == "fail"


def test_a_comment_may_follow_done(desk: Any) -> None:
    put(desk, (0.0, CHUNK + b"data: [DONE]\n\n: bye\n\n"))
    assert desk.verdict("stream.done").outcome == "pass"


@pytest.mark.parametrize("text", [b"7", b'"x"', b"[]"])
def test_json_that_is_no_object(desk: Any, text: bytes) -> None:
    put(desk, (0.0, b"data: " + text + b"\n\n"))
    assert desk.verdict("sse.json").outcome == "fail"


def test_an_error_object_needs_a_message(desk: Any) -> None:
    put(desk, (0.0, b'data: {"error": {"code": 3}}\n\n'))
    assert desk.verdict("stream.error-object").outcome == "fail"
    put(desk, (0.0, b'data: {"error": {"message": "x"}}\n\n'))
    assert desk.verdict("stream.error-object").outcome == "pass"
