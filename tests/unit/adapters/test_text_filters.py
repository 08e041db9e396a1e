"""The text filters; above all, that the way a text was cut never changes what comes out."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.text_filters import (
    Channel,
    Cumulative,
    EchoRemoval,
    Piece,
    StopFilter,
    TextFilters,
    Thinking,
    ThinkingFilter,
)

ALPHABET = st.text(alphabet="ab<>/think \n", max_size=40)


def pieces_of(text: str, cuts: list[int]) -> list[str]:
    at = sorted({min(len(text), cut) for cut in cuts} | {0, len(text)})
    return [text[a:b] for a, b in itertools.pairwise(at)]


def joined(pieces: list[Piece], channel: Channel) -> str:
    return "".join(piece.text for piece in pieces if piece.channel is channel)


CUTS = st.lists(st.integers(0, 60), max_size=20)


def test_cumulative_text_becomes_its_growth_and_is_never_retracted() -> None:
    diff = Cumulative()
    assert [diff.feed(t) for t in ("He", "Hello", "Hello", "Help", "Hel", "Hello you")] == [
        "He",
        "llo",
        "",
        "",
        "",
        " you",
    ]
    assert diff.sent == "Hello you"
    assert not diff.diverges("Hello you!")
    assert diff.diverges("Help")


@given(prompt=ALPHABET, rest=ALPHABET, cuts=CUTS)
def test_an_echo_is_removed_however_it_is_cut(prompt: str, rest: str, cuts: list[int]) -> None:
    echo = EchoRemoval(prompt)
    out = "".join(echo.feed(p) for p in pieces_of(prompt + rest, cuts)) + echo.close()
    assert out == rest


@given(prompt=ALPHABET, text=ALPHABET, cuts=CUTS)
def test_what_is_no_echo_is_left_alone(prompt: str, text: str, cuts: list[int]) -> None:
    echo = EchoRemoval(prompt)
    out = "".join(echo.feed(p) for p in pieces_of(text, cuts)) + echo.close()
    assert out == (text.removeprefix(prompt))


@pytest.mark.parametrize(
    ("mode", "text", "content", "reasoning"),
    [
        (Thinking.PART, "<think>why</think>\n\nBecause", "Because", "why"),
        (Thinking.PART, " \n<think>\nwhy\n</think>Because", "Because", "\nwhy\n"),
        (Thinking.STRIP, "<think>why</think>Because", "Because", ""),
        (Thinking.STRIP, "<think>why", "why", ""),
        (Thinking.PART, "<think>why", "", "why"),
        (Thinking.PART, "<think>a</thin", "", "a</thin"),
        (Thinking.LEAVE, "<think>why</think>Because", "<think>why</think>Because", ""),
        (Thinking.PART, "So <think>x</think>", "So <think>x</think>", ""),
        (Thinking.PART, "<thin", "<thin", ""),
        (Thinking.PART, "  plain", "  plain", ""),
        (Thinking.PART, "<think>a</think>b<think>c</think>", "b<think>c</think>", "a"),
        (Thinking.PART, "<think></think>x", "x", ""),
        (Thinking.STRIP, "", "", ""),
    ],
)
def test_thinking_at_the_start_only(mode: Thinking, text: str, content: str, reasoning: str) -> None:
    for cuts in ([], list(range(len(text))), [3], [8, 9]):
        think = ThinkingFilter(mode)
        out = [p for part in pieces_of(text, cuts) for p in think.feed(part)] + think.close()
        assert (joined(out, Channel.CONTENT), joined(out, Channel.REASONING)) == (
            content,
            reasoning,
        )


def test_thoughts_go_out_as_they_come() -> None:
    think = ThinkingFilter(Thinking.PART)
    assert think.feed("<think>one ") == [Piece(Channel.REASONING, "one ")]
    assert think.feed("two") == [Piece(Channel.REASONING, "two")]


def test_a_prompt_that_ended_with_the_opening_tag() -> None:
    think = ThinkingFilter(Thinking.PART, opened=True)
    out = think.feed("why</think>Because")
    assert (joined(out, Channel.CONTENT), joined(out, Channel.REASONING)) == (
        "Because",
        "why",
    )


@given(text=ALPHABET, cuts=CUTS, mode=st.sampled_from(Thinking))
def test_thinking_does_not_depend_on_the_cuts(text: str, cuts: list[int], mode: Thinking) -> None:
    text = "<think>" + text

    def run(parts: list[str]) -> tuple[str, str]:
        think = ThinkingFilter(mode)
        out = [p for part in parts for p in think.feed(part)] + think.close()
        return joined(out, Channel.CONTENT), joined(out, Channel.REASONING)

    assert run(pieces_of(text, cuts)) == run([text])


@given(
    text=ALPHABET,
    stops=st.lists(st.text("ab<>", min_size=1, max_size=4), max_size=4),
    cuts=CUTS,
)
def test_stops_do_not_depend_on_the_cuts_and_never_leak(text: str, stops: list[str], cuts: list[int]) -> None:
    def run(parts: list[str]) -> tuple[str, str | None]:
        stop = StopFilter(stops)
        out = "".join(stop.feed(part) for part in parts)
        return out + (stop.close() if stop.hit is None else ""), stop.hit

    whole = run([text])
    assert run(pieces_of(text, cuts)) == whole
    out, hit = whole
    assert all(stop not in out for stop in stops)
    assert text.startswith(out + (hit or ""))
    assert hit is not None or out == text


def test_only_a_possible_beginning_is_held_back() -> None:
    stop = StopFilter(["\nUser:"])
    assert stop.feed("Hello\nUs") == "Hello"
    assert stop.feed("ual") == "\nUsual"
    assert stop.feed("\nUser: more") == ""
    assert stop.hit == "\nUser:"
    assert stop.feed("later") == ""


def test_the_chain_in_its_order() -> None:
    filters = TextFilters(prompt_echo="Q: END?", thinking=Thinking.PART, stops=["END"])
    text = "Q: END?<think>END is near</think>The ENDING"
    out = [piece for letter in text for piece in filters.feed(letter)] + filters.close()
    # A stop sequence in the prompt or in the thoughts does not count.
    assert (joined(out, Channel.CONTENT), joined(out, Channel.REASONING)) == (
        "The ",
        "END is near",
    )
    assert filters.stopped == "END"
    assert filters.feed("more") == []


def test_the_chain_lets_everything_out_at_the_end() -> None:
    filters = TextFilters(prompt_echo="Question", thinking=Thinking.STRIP, stops=["STOP"])
    assert filters.feed("Que") == []
    assert joined(filters.close(), Channel.CONTENT) == "Que"
    filters = TextFilters(stops=["STOP"])
    assert filters.feed("x ST") == [Piece(Channel.CONTENT, "x ")]
    assert filters.close() == [Piece(Channel.CONTENT, "ST")]
