"""Reasoning is split from the answer at the markers, at the start of the output only."""

import pytest

from adapters.llama.text.reasoning import ReasoningMarkers, ReasoningSplit


def _run(text: str, size: int, inside: bool = False) -> tuple[str, str]:
    split, thought, answer = ReasoningSplit(ReasoningMarkers(starts_inside=inside)), "", ""
    parts = [split.feed(text[at : at + size]) for at in range(0, len(text), size)]
    for t, a in [*parts, split.finish()]:
        thought, answer = thought + t, answer + a
    return thought, answer


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    ("text", "inside", "expected"),
    [
        ("<think>one\ntwo\n</think>\n\nAnswer </think> stays", False, ("one\ntwo", "Answer </think> stays")),
        ("\n <think>\n a </th b</think>c", False, ("a </th b", "c")),
        ("So <think>no</think>", False, ("", "So <think>no</think>")),
        ("  <thin", False, ("", "  <thin")),
        ("  plain ", False, ("", "  plain ")),
        ("deep\n\n</think>\n42", True, ("deep", "42")),
        ("\n\n</think>\n42", True, ("", "42")),
        ("never closed  </thi", True, ("never closed  </thi", "")),
        ("   \n", True, ("", "")),
        ("<think></think>", False, ("", "")),
        ("", True, ("", "")),
    ],
)
def test_split(text: str, inside: bool, expected: tuple[str, str], size: int) -> None:
    assert _run(text, size, inside) == expected


def test_inside_and_over_follow_the_text() -> None:
    split = ReasoningSplit(ReasoningMarkers())
    assert (split.inside, split.over) == (False, False)
    split.feed("<think>a")
    assert (split.inside, split.over) == (True, False)
    split.feed("</think>\n")
    assert (split.inside, split.over) == (False, False)
    assert split.feed("b") == ("", "b")
    assert split.over
