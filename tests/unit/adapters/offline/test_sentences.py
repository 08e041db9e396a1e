"""Sentences end where a reader would breathe, and nothing is lost on the way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.offline.sentences import split


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("", []),
        (" \n\t ", []),
        ("Hello", ["Hello"]),
        ("One. Two! Three? Four… Five", ["One.", "Two!", "Three?", "Four…", "Five"]),
        ("Really?! Yes.", ["Really?!", "Yes."]),
        ('He said "no." Then left.', ['He said "no."', "Then left."]),
        (
            "Dr. Smith met Mrs. Jones at 5 p.m. yesterday. Fine.",
            ["Dr. Smith met Mrs. Jones at 5 p.m. yesterday.", "Fine."],
        ),
        ("J. S. Bach wrote it. So did I. Done.", ["J. S. Bach wrote it.", "So did I.", "Done."]),
        ("Pi is 3.14, see example.com/a.html now. Ok.", ["Pi is 3.14, see example.com/a.html now.", "Ok."]),
        ("e.g. this, i.e. that. Next", ["e.g. this, i.e. that.", "Next"]),
        ("你好。今天天气很好！去公园吗？好", ["你好。", "今天天气很好！", "去公园吗？", "好"]),
        ("「はい。」と言った。", ["「はい。」", "と言った。"]),
        ("नमस्ते। Ok. Go", ["नमस्ते।", "Ok.", "Go"]),
        ("A title\n\nA paragraph\nwith a wrapped line.", ["A title", "A paragraph with a wrapped line."]),
        ("List:\n- one\n- two\n1. three", ["List:", "- one", "- two", "1.", "three"]),
        ("one\0two\x07three. four", ["one two three.", "four"]),
        ("كيف حالك؟ بخير", ["كيف حالك؟", "بخير"]),
    ],
)
def test_sentences(text, sentences):
    assert split(text) == sentences


def test_long_sentences_are_cut_behind_a_clause_or_a_word():
    text = ("word " * 30 + "clause, ") * 5
    pieces = split(text, 200)
    assert all(len(piece) <= 200 for piece in pieces)
    assert pieces[0].endswith("clause,")
    assert all(len(piece) <= 50 for piece in split("x" * 500, 50))
    assert split("word " * 100, 50)[0].endswith("word")


@given(st.text(max_size=400), st.integers(3, 80))
def test_nothing_but_blanks_is_lost_and_no_piece_is_too_long(text, limit):
    pieces = split(text, limit)
    blanks = {*range(0x20), 0x7F}

    def solid(text: str) -> str:
        kept = "".join(letter for letter in text if ord(letter) not in blanks and not 0xD800 <= ord(letter) <= 0xDFFF)
        return "".join(kept.split())

    assert solid("".join(pieces)) == solid(text)
    assert all(piece.strip() and len(piece) <= limit for piece in pieces)
