"""GBNF is written as llama.cpp reads it; repetition is exact at any count and costs logarithmic text."""

import pytest

from adapters.llama.grammar.errors import UnsupportedSchema
from adapters.llama.grammar.gbnf import EMPTY, Limits, Rules, alt, char_class, group, literal, optional, seq
from fakes.gbnf import Grammar


def _grammar(expr: str) -> Grammar:
    return Grammar(f"root ::= {expr}\n")


@pytest.mark.parametrize("text", ["a", 'say "hi"', "back\\slash", "tab\t\n\x00\x7f", "é漢🜚", "]-^[", "{}()|*+?."])
def test_literals_are_exact(text: str) -> None:
    grammar = _grammar(literal(text))
    assert grammar.accepts(text)
    assert not grammar.accepts(text + "x")
    assert not grammar.accepts(text[:-1])


def test_classes() -> None:
    marks = _grammar(char_class([(0x5D, 0x5D), (0x2D, 0x2D), (0x5E, 0x5E), (0x61, 0x63), (0x1F300, 0x1F9FF)]))
    assert all(marks.accepts(char) for char in "]-^abc\U0001f600")
    assert not any(marks.accepts(char) for char in "d[\\ ")
    other = _grammar(char_class([(0x5D, 0x5D), (0x61, 0x61)], negated=True))
    assert other.accepts("b")
    assert not other.accepts("]")
    assert not other.accepts("a")


def test_combinators() -> None:
    assert seq("a", EMPTY, "b") == "a b"
    assert seq() == EMPTY
    assert alt(["a", "b", "a"]) == "(a | b)"
    assert alt(["a"]) == "a"
    assert alt([EMPTY, "a"]) == "a?"
    assert optional(EMPTY) == EMPTY
    assert group("a b") == "(a b)"
    assert group("[a-z]") == "[a-z]"
    assert group('"x y"') == '"x y"'


@pytest.mark.parametrize(
    ("low", "high"),
    [(0, 0), (0, 1), (1, 1), (0, 8), (3, 3), (0, 9), (0, 15), (0, 16), (0, 17), (9, 9), (13, 29), (31, 64), (2, None)],
)
def test_repetition_is_exact(low: int, high: int | None) -> None:
    rules = Rules(Limits())
    grammar = Grammar(rules.text(seq('"<"', rules.repeat("[ab]", low, high), '">"')))
    top = 70 if high is None else high + 3
    accepted = [
        count for count in range(top + 1) if grammar.accepts("<" + "ab" * (count // 2) + "a" * (count % 2) + ">")
    ]
    assert accepted == [count for count in range(top + 1) if low <= count and (high is None or count <= high)]


def test_large_repetition_is_small() -> None:
    rules = Rules(Limits())
    text = rules.text(rules.repeat("[a]", 1_000, 100_000))
    assert len(text) < 2_500
    assert "{" not in text or all(int(n) <= 8 for n in __import__("re").findall(r"\{\d*,?(\d+)\}", text))
    grammar = Grammar(text)
    assert not grammar.accepts("a" * 999)
    assert grammar.accepts("a" * 1_000)
    assert grammar.accepts("a" * 2_345)


def test_equal_expressions_share_a_rule() -> None:
    rules = Rules(Limits())
    assert rules.add('"a" "b"') == rules.add('"a" "b"')
    assert rules.add("other-rule") == "other-rule"


@pytest.mark.parametrize("limits", [Limits(max_rules=3), Limits(max_chars=40)])
def test_the_grammar_is_bounded(limits: Limits) -> None:
    rules = Rules(limits)
    with pytest.raises(UnsupportedSchema, match="too large"):
        rules.repeat("[a-z]", 0, 1_000)
