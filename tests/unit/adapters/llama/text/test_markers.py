"""Markers are found in pieces as in the whole, and no more is held back than needed."""

from hypothesis import given
from hypothesis import strategies as st

from adapters.llama.text.markers import MarkerScan


def _run(markers: tuple[str, ...], text: str, size: int) -> tuple[str, str | None, str]:
    scan, out = MarkerScan(markers), ""
    for at in range(0, len(text), size):
        safe, found, rest = scan.feed(text[at : at + size])
        out += safe
        if found is not None:
            return out, found, rest + text[at + size :]
    return out + scan.flush(), None, ""


@given(
    st.lists(st.text("ab<", min_size=1, max_size=4), min_size=1, max_size=4).map(tuple),
    st.text("ab<c", max_size=20),
    st.integers(1, 5),
)
def test_pieces_equal_the_whole(markers: tuple[str, ...], text: str, size: int) -> None:
    whole = _run(markers, text, max(1, len(text)))
    assert _run(markers, text, size) == whole
    out, found, rest = whole
    assert out + (found or "") + rest == text
    assert not any(marker in out for marker in markers)


@given(st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=3), st.text("abc", max_size=12))
def test_only_a_possible_beginning_is_held(markers: list[str], text: str) -> None:
    scan = MarkerScan(markers)
    safe, found, _ = scan.feed(text)
    if found is None:
        held = text[len(safe) :]
        tails = [text[at:] for at in range(len(text)) if any(m.startswith(text[at:]) for m in markers)]
        assert held == (max(tails, key=len) if tails else "")


def test_the_marker_that_ends_first_wins_then_the_longer() -> None:
    assert MarkerScan(("abc", "b")).feed("abc") == ("a", "b", "c")
    assert MarkerScan(("b", "ab")).feed("xabc") == ("x", "ab", "c")


def test_no_markers_hold_nothing() -> None:
    assert MarkerScan(("",)).feed("abc") == ("abc", None, "")
