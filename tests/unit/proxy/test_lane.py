"""What goes the short way, what does not, and what is counted. `contract/test_short_way.py` has both ways side by side."""

import pytest

from proxy.lane import Lane

BEFORE, BEHIND = b'data: {"id":"c","model":"theirs","choices":[{"delta":{"content":"', b'"},"usage":null}]}\n\n'
OURS_BEFORE, OURS_BEHIND = b'data: {"id":"c","model":"ours","choices":[{"delta":{"content":"', b'"}}]}\n\n'


def chunk(event: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(event), event)


def lane() -> tuple[Lane, list[bytes]]:
    out: list[bytes] = []
    made = Lane(out.append, iter(range(100)).__next__)
    made.know(BEFORE, BEHIND, OURS_BEFORE, OURS_BEHIND)
    return made, out


@pytest.mark.parametrize("text", [b"", b"a", b" word" * 60, "è\u2028".encode(), b"a\\nb", b"\\\\ "])
def test_an_event_with_another_text_is_passed_on_as_ours(text: bytes) -> None:
    one, out = lane()
    assert one.take(chunk(BEFORE + text + BEHIND))
    assert out == [chunk(OURS_BEFORE + text + OURS_BEHIND)]
    assert (one.frames, one.sent, one.text) == (1, len(OURS_BEFORE + text + OURS_BEHIND), len(text))


def test_what_went_by_is_counted_and_dated() -> None:
    one, _ = lane()
    for text in (b"one", b"three"):
        assert one.take(chunk(BEFORE + text + BEHIND))
    assert (one.frames, one.text, one.at) == (2, 8, 1)


@pytest.mark.parametrize(
    "data",
    [
        chunk(BEFORE + b'a"},{"content":"b' + BEHIND),  # a text that ends, and goes on otherwise
        chunk(BEFORE + b"a\\" + BEHIND),  # the quote behind it is the text's own
        chunk(BEFORE + b"a" + BEHIND) * 2,
        chunk(BEFORE + b"a" + BEHIND + b": said\n\n"),
        chunk(BEFORE + b"a" + BEHIND)[:-1],
        chunk(BEFORE + b"a" + BEHIND)[1:],
        b"0" + chunk(BEFORE + b"a" + BEHIND),
        chunk(BEFORE + b"a" + BEHIND).replace(b"\r\n", b";x=y\r\n", 1),
        b"1" + chunk(BEFORE + b"a" + BEHIND),
        BEFORE + b"a" + BEHIND,
        chunk(BEFORE[:-1] + BEHIND[1:]),  # the two overlap: there is no room for a text
        b"0\r\n\r\n",
        b"\r\n",
        b"",
    ],
)
def test_all_else_goes_the_long_way(data: bytes) -> None:
    one, out = lane()
    assert not one.take(data)
    assert (out, one.frames, one.sent) == ([], 0, 0)


def test_nothing_is_taken_for_a_client_that_lags() -> None:
    one, out = lane()
    one.shut = True
    assert not one.take(chunk(BEFORE + b"a" + BEHIND))
    one.shut = False
    assert one.take(chunk(BEFORE + b"a" + BEHIND))
    assert len(out) == 1
