"""A response read in any pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.verify.http1 import Response

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nx-t: 1\r\n\r\n"
LENGTH = b"HTTP/1.1 103 Hints\r\nlink: x\r\n\r\nHTTP/1.1 404 Not Found\r\ncontent-length: 11\r\n\r\nhello world"
CLOSE = b"HTTP/1.1 200 OK\r\n\r\nhello world"


def read(*pieces: bytes, end: str = "closed", head_only: bool = False) -> Response:
    response = Response(head_only)
    for number, piece in enumerate(pieces):
        response.feed(piece, float(number))
    response.stop(end, 99.0)  # type: ignore[arg-type]
    return response


@pytest.mark.parametrize(
    ("raw", "status", "framing"), [(CHUNKED, 200, "chunked"), (LENGTH, 404, "length"), (CLOSE, 200, "close")]
)
@given(data=st.data())
def test_any_split_gives_the_same(raw: bytes, status: int, framing: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    pieces = [raw[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    response = read(*pieces)
    assert (response.status, response.framing, bytes(response.body)) == (status, framing, b"hello world")
    assert response.whole, response.problems


def test_times_belong_to_the_bytes() -> None:
    response = read(CHUNKED[:-30], CHUNKED[-30:-12], CHUNKED[-12:])
    assert response.arrived(0) == 0.0
    assert response.arrived(10) == 1.0
    assert response.ended_at == 2.0
    assert response.header("x-a") == "1"


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"", "closed before a response head"),
        (b"HTTP/1.1 200 OK\r\ncontent-le", "closed before a response head"),
        (b"\x00\x01\x02\x03\x04\x05\x06\x07", "no response head"),
        (b"HTTP/1.1 abc\r\n\r\n", "no status line"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: ten\r\n\r\n", "content-length: ten"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nhello", "closed after 5 body bytes"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhello", "beyond the end of the body: b'llo'"),
        (b"HTTP/1.1 200 OK\r\nno colon here\r\ncontent-length: 0\r\n\r\n", "without a colon"),
        (CHUNKED[:-2], "closed after 11 body bytes"),
        (CHUNKED.replace(b"5\r\n", b"zz\r\n"), "chunk size of b'zz'"),
        (CHUNKED.replace(b"hello\r\n", b"hellooo"), "a chunk that goes on with"),
        (CHUNKED.replace(b"X-A: 1", b"content-length: 3"), "both transfer-encoding"),
        (CHUNKED + b"more", "beyond the end of the body: b'more'"),
    ],
)
def test_what_is_wrong_is_kept(raw: bytes, problem: str) -> None:
    response = read(raw)
    assert not response.whole
    assert problem in "; ".join(response.problems)


def test_bytes_that_come_after_the_end_are_kept_once() -> None:
    response = read(LENGTH, b"a", b"b")
    assert response.extra == b"ab"
    assert len(response.problems) == 1


@pytest.mark.parametrize(("end", "word"), [("reset", "reset"), ("timeout", "silent"), ("unreachable", "refused")])
def test_how_it_ended_is_told(end: str, word: str) -> None:
    assert word in read(b"HTTP/1.1 200 OK\r\n\r\nhel", end=end).problems[0]


def test_a_head_has_no_body() -> None:
    assert read(b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n", head_only=True).whole
    assert read(b"HTTP/1.1 204 No Content\r\n\r\n").whole
