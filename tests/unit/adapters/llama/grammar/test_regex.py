"""The subset of regular expressions is translated exactly, the rest refused by name."""

import json
import random
import re

import pytest

from adapters.llama.grammar import regex
from adapters.llama.grammar.gbnf import Limits, Rules
from fakes.gbnf import Grammar


def _grammar(node: regex.Node) -> Grammar:
    rules = Rules(Limits())
    inner = regex.write(node, rules)
    return Grammar(rules.text(f'"\\"" {inner} "\\""'))


PATTERNS = [
    "^abc$", "^a|b$", "^(?:a|bc)*d$", "^[a-f0-9]{4,6}$", "^\\w+@\\w+\\.(com|org)$", "^[^\\s]+$", "^\\$\\d+(\\.\\d{2})?$",
    "^(?<year>\\d{4})-(?P<month>\\d{2})$", "^.{2,3}$", "b", "^b", "b$", "^\\x41\\u0042[\\u00e0-\\u00ff]$", "^[\\]\\-a]+$",
    "^a{0}b$", "^(a|b|)c$", "^\\t\\n\"\\\\$", "^[-+]?\\d+$", "^[a\\d_-]*$", "^(?:[A-Z]{2}){1,2}\\/x?$", "", "^$", "^a??b+?$",
    "^\\S{1,3}\\D\\W$", "^[^a-c]x$", "^é*$",
]  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
def test_what_is_written_matches(pattern: str) -> None:
    grammar, rng = _grammar(regex.parse(pattern)), random.Random(pattern)
    for _ in range(80):
        text = json.loads(grammar.sample(rng, 60))
        assert re.search(pattern.replace("(?<y", "(?P<y"), text), text


@pytest.mark.parametrize("pattern", PATTERNS)
def test_what_matches_is_accepted(pattern: str) -> None:
    grammar, rng = _grammar(regex.parse(pattern)), random.Random(pattern)
    python = re.compile(pattern.replace("(?<y", "(?P<y"))
    tried = [
        "",
        "abc",
        "ad",
        "bcd",
        "abcdef",
        "a@b.com",
        "$12.34",
        "2024-05",
        "xx",
        "ABé",
        "]-a",
        "b",
        "c",
        "bc",
        "+7",
        "AB/",
    ]
    tried += ["".join(rng.choice("ab-]c0A/$.@") for _ in range(rng.randint(0, 6))) for _ in range(200)]
    for text in tried:
        found = python.search(text)
        accepted = grammar.accepts(json.dumps(text, ensure_ascii=False))
        assert accepted == bool(found), text


@pytest.mark.parametrize(
    ("pattern", "match"),
    [
        ("^(?=a)b$", "look-around"), ("^(?!a)b$", "look-around"), ("^(?<=a)b$", "look-around"), ("(?i)a", "look-around"),
        ("^(a)\\1$", "no counterpart"), ("\\bword\\b", "no counterpart"), ("^\\p{L}$", "no counterpart"),
        ("^(a$|b)$", "inside a group"), ("a^b", "unexpected"), ("a$b", "before the end"), ("(a", "without an end"),
        ("a)", "unexpected"), ("[a", "without an end"), ("[]", "is empty"), ("[z-a]", "backwards"), ("[\\d-z]", "end of a range"),
        ("a{2,1}", "out of bounds"), ("a{1000000}", "out of bounds"), ("a{x}", "no quantifier"), ("*a", "unexpected"),
        ("a**", "behind a quantifier"), ("^(a*)*$", "may be empty is repeated"), ("\\u12", "broken"), ("\\ud800", "broken"),
        ("(?<n", "without an end"),
    ],
)  # fmt: skip
def test_refusals(pattern: str, match: str) -> None:
    with pytest.raises(regex.PatternError, match=match):
        _grammar(regex.parse(pattern))


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("^abc$", (3, 3)),
        ("^a?b{2,4}$", (2, 5)),
        ("^a*$", (0, None)),
        ("a", (1, None)),
        ("^(a|bcd)$", (1, 3)),
        ("^(a*){0}$", (0, 0)),
    ],
)
def test_lengths(pattern: str, expected: tuple[int, int | None]) -> None:
    assert regex.lengths(regex.parse(pattern)) == expected


def test_lengths_are_enforced_where_one_place_varies() -> None:
    grammar = _grammar(regex.within(regex.parse("^a[bc]*d$"), 3, 5))
    assert [grammar.accepts(f'"a{"b" * count}d"') for count in range(6)] == [False, True, True, True, False, False]
    assert regex.within(regex.parse("^a{3}$"), 2, 4) == regex.parse("^a{3}$")
    with pytest.raises(regex.PatternError, match="one place only"):
        regex.within(regex.parse("^a*b*$"), 0, 5)
    with pytest.raises(regex.PatternError, match="single characters"):
        regex.within(regex.parse("^(ab)*$"), 0, 5)
    with pytest.raises(regex.PatternError, match="no text has both"):
        regex.within(regex.parse("^abc*$"), 0, 1)


def test_ranges_arithmetic() -> None:
    assert regex.merged([(5, 7), (1, 2), (3, 4), (6, 9)]) == [(1, 9)]
    assert regex.minus([(0, 10)], [(3, 4), (10, 12)]) == [(0, 2), (5, 9)]
