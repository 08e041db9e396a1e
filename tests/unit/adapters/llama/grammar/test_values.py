"""Free JSON is JSON, bounded in depth, without raw control characters or lone surrogates."""

import json
import random

import pytest

from adapters.llama.grammar.gbnf import Limits, Rules
from adapters.llama.grammar.response import json_object
from adapters.llama.grammar.values import Values
from fakes.gbnf import Grammar


def _grammar(kind: str, *args: object, limits: Limits | None = None) -> Grammar:
    rules = Rules(limits or Limits())
    return Grammar(rules.text(getattr(Values(rules), kind)(*args)))


def test_objects_are_json() -> None:
    grammar, rng = Grammar(json_object()), random.Random(3)
    for budget in (30, 200, 1_000):
        for _ in range(40):
            assert isinstance(json.loads(grammar.sample(rng, budget)), dict)


@pytest.mark.parametrize(
    "text", ['"\x1b"', '"\x7f"', '"\n"', '"\\ud800"', '"\\udc00x"', '"\\ud800\\u0041"', '"\\x"', '"a']
)
def test_strings_refuse(text: str) -> None:
    assert not _grammar("string").accepts(text)


@pytest.mark.parametrize("text", ['""', '"\\ud83d\\ude00"', '"\\uD7FF\\ue000"', '"é🜚\\n\\\\\\"\\/"', '"\\u0000"'])
def test_strings_take(text: str) -> None:
    assert _grammar("string").accepts(text)


def test_pretty_printed_json_is_taken() -> None:
    value = {"a": [1, {"b": None}], "c": {"d": "é"}}
    for indent in (None, 1, 2, 4, "\t"):
        assert Grammar(json_object()).accepts(json.dumps(value, indent=indent, ensure_ascii=False))


def test_white_space_and_depth_are_bounded() -> None:
    grammar = Grammar(json_object())
    assert not grammar.accepts('{"a":' + " " * 5 + "1}")
    assert not grammar.accepts('{"a":\n' + " " * 40 + "1}")
    assert not grammar.accepts('{"a":' + "[" * 50 + "]" * 50 + "}")
    assert grammar.accepts('{"a":' + "[" * 9 + "]" * 9 + "}")


def test_other_keys_avoid_the_names() -> None:
    grammar = _grammar("other_key", ["age", "ag", "b", 'q"', ""])
    for key in ("age", "ag", "b", "", "a\\u0067"):
        assert not grammar.accepts(f'"{key}":'), key
    for key in ("a", "aged", "agf", "ba", "c", "é", "A"):
        assert grammar.accepts(f'"{key}":'), key


def test_caps() -> None:
    grammar = _grammar("value", limits=Limits(free_chars=3, free_items=2))
    assert grammar.accepts('["abc", 1]')
    assert not grammar.accepts('"abcd"')
    assert not grammar.accepts("[1, 2, 3]")


def test_constants_leave_white_space_free() -> None:
    grammar = _grammar("constant", {"a": [1, None], "é": {}})
    assert grammar.accepts('{"a":[1,null],"é":{}}')
    assert grammar.accepts('{ "a": [\n  1, null], "é": {} }')
    assert not grammar.accepts('{"é":{},"a":[1,null]}')
