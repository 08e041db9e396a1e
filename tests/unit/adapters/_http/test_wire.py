"""The small words of the wire."""

import httptools
import pytest

from adapters._http.wire import complaint, framed, idle_hint, overdue


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(b"timeout=5, max=100", 5.0), (b"max=100, Timeout=7", 7.0), (b"timeout=soon", None), (b"", None)],
)
def test_idle_hint(value: bytes, seconds: float | None) -> None:
    assert idle_hint(value) == seconds


def test_a_complaint_says_what_is_wrong_and_nothing_of_what_came() -> None:
    with pytest.raises(httptools.HttpParserError) as caught:
        httptools.HttpResponseParser(object()).feed_data(b"secret-token\r\n\r\n")
    said = complaint(caught.value)
    assert said.startswith("not HTTP/1.1: ")
    assert "secret" not in said


def test_what_frames_a_body() -> None:
    assert framed([(b"X", b"y"), (b"Content-Length", b"3")])
    assert framed([(b"transfer-encoding", b"chunked")])
    assert not framed([(b"content-type", b"text/plain")])


def test_each_clock_says_what_it_waited_for() -> None:
    said = {overdue("total_timeout", False), overdue("between_bytes_timeout", False)}
    said |= {overdue("first_byte_timeout", writing) for writing in (False, True)}
    assert len(said) == 4
