"""Over the whole suite: what a grammar writes is valid, what is valid is taken, what is not valid is not."""

import importlib.util
import json
import random
import subprocess
import sys
import time
from typing import Any

import pytest

from adapters.llama.grammar.errors import UnsupportedSchema
from adapters.llama.grammar.gbnf import Limits
from adapters.llama.grammar.schema import compile_schema
from fakes import schema_suite, schema_values
from fakes.gbnf import Grammar

SUITE = schema_suite.load()
GRAMMARS: dict[str, Grammar] = {}


def _grammar(name: str) -> Grammar:
    if name not in GRAMMARS:
        GRAMMARS[name] = Grammar(compile_schema(SUITE[name]))
    return GRAMMARS[name]


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def test_the_suite_is_large_enough() -> None:
    assert len(SUITE) >= 60


@pytest.mark.parametrize("name", SUITE)
def test_what_is_written_is_valid(name: str) -> None:
    grammar, rng = _grammar(name), random.Random(name)
    for budget in [20] * 10 + [200] * 30 + [1_000] * 10:
        text = grammar.sample(rng, budget)
        assert schema_suite.is_valid(SUITE[name], json.loads(text)), text


@pytest.mark.parametrize("name", SUITE)
def test_the_examples(name: str) -> None:
    schema, grammar = SUITE[name], _grammar(name)
    for value in schema["examples"]:
        assert schema_suite.is_valid(schema, value), value
        for text in (_text(value), json.dumps(value, separators=(",", ":")).replace("\x7f", "\\u007f")):
            expected = text if _exactly_written(schema) else _text(value)
            assert grammar.accepts(expected), expected
    for value in schema["x-invalid"]:
        assert not schema_suite.is_valid(schema, value), value
        assert not grammar.accepts(_text(value)), value


def _exactly_written(schema: dict[str, Any]) -> bool:
    """Constants, keys and patterns are taken in one spelling only: ASCII escapes of them are not."""
    return _text(schema).isascii()


@pytest.mark.parametrize("name", SUITE)
def test_random_values(name: str) -> None:
    schema, grammar, rng = SUITE[name], _grammar(name), random.Random(name)
    guess = schema_values.Values(schema, rng)
    valid = invalid = 0
    for _ in range(120):
        value = guess.value(schema) if rng.random() < 0.6 else rng.choice(schema["examples"])
        text = _text(value)
        if schema_suite.is_valid(schema, value):
            valid += 1
            assert grammar.accepts(text), text
        else:
            assert not grammar.accepts(text), text
        other = schema_values.broken(value, rng)
        if not schema_suite.is_valid(schema, other):
            invalid += 1
            assert not grammar.accepts(_text(other)), _text(other)
    assert valid >= 20
    assert invalid >= 20 or name == "any-value"


@pytest.mark.skipif(importlib.util.find_spec("llama_cpp") is None, reason="llama_cpp is not installed")
def test_llama_cpp_takes_every_grammar() -> None:
    script = (
        "import json, sys, llama_cpp.llama_cpp as lib\n"
        "for name, text in json.load(sys.stdin).items():\n"
        "    if not lib.llama_sampler_init_grammar(None, text.encode(), b'root'): print(name)\n"
    )
    grammars = {name: compile_schema(schema) for name, schema in SUITE.items()}
    bad = {"bad": "root ::= nowhere"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps(grammars | bad),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    assert done.stdout.split() == ["bad"]


@pytest.mark.parametrize(
    ("schema", "keyword", "path"),
    [
        ({"type": "object", "properties": {"a": {"not": {}}}}, "not", "/properties/a"),
        ({"if": {}, "then": {}}, "if", "#"),
        ({"type": "array", "items": {"type": "array", "uniqueItems": True}}, "uniqueItems", "/items"),
        ({"type": "array", "contains": {}}, "contains", "#"),
        ({"type": "object", "patternProperties": {"^a": {}}}, "patternProperties", "#"),
        ({"type": "string", "pattern": "(?=a)"}, "pattern", "#"),
        ({"type": "string", "pattern": "^a*b*$", "maxLength": 3}, "pattern", "#"),
        ({"type": "string", "format": "iban"}, "format", "#"),
        ({"type": "string", "format": "date", "pattern": "^2"}, "format", "#"),
        ({"allOf": [{"type": "string", "pattern": "^a"}, {"pattern": "b$"}]}, "pattern", "#"),
        ({"type": "integer", "multipleOf": 7}, "multipleOf", "#"),
        ({"type": "number", "multipleOf": 0.01}, "multipleOf", "#"),
        ({"type": "object", "minProperties": 2}, "minProperties", "#"),
        ({"type": "object", "properties": {"a": {}, "b": {}}, "maxProperties": 1}, "maxProperties", "#"),
        ({"type": "object", "properties": {"a": {}}, "propertyNames": {"maxLength": 1}}, "propertyNames", "#"),
        ({"enum": ["a"], "pattern": "^a"}, "enum", "#"),
        ({"$ref": "https://example.org/schema"}, "$ref", "#"),
        ({"anyOf": [{"type": "string"}, {"$ref": "#/$defs/none"}]}, "$ref", "/anyOf/1"),
        ({"type": "number", "minimum": 0.12345678901234567}, "minimum", "#"),
        ({"type": "string", "minLength": 10**9}, "minLength", "#"),
        ({"type": "array", "minItems": 10**9}, "minItems", "#"),
        ({"type": "object", "properties": {"a": 3}}, "schema", "/properties/a"),
    ],
)
def test_what_has_no_exact_grammar_is_refused_by_name(schema: dict[str, Any], keyword: str, path: str) -> None:
    with pytest.raises(UnsupportedSchema) as caught:
        compile_schema(schema)
    assert (caught.value.keyword, caught.value.path) == (keyword, path)


@pytest.mark.parametrize(
    "schema",
    [
        False,
        {"type": "string", "minLength": 3, "maxLength": 2},
        {"type": "integer", "minimum": 3, "maximum": 2},
        {"enum": []},
        {"allOf": [{"type": "string"}, {"type": "null"}]},
        {"type": "object", "required": ["a"], "additionalProperties": False},
        {"type": "array", "items": False, "minItems": 1},
        {
            "$defs": {"n": {"type": "object", "properties": {"n": {"$ref": "#/$defs/n"}}, "required": ["n"]}},
            "$ref": "#/$defs/n",
        },
        {"type": "integer", "multipleOf": 10, "minimum": 1, "maximum": 9},
    ],
)
def test_a_schema_that_nothing_obeys_is_refused(schema: Any) -> None:
    with pytest.raises(UnsupportedSchema, match="no value can be valid"):
        compile_schema(schema)


def test_impossible_parts_are_left_out() -> None:
    optional = Grammar(compile_schema({"type": "object", "properties": {"a": False, "b": {"type": "null"}}}))
    assert optional.accepts("{}")
    assert optional.accepts('{"b":null}')
    union = Grammar(compile_schema({"anyOf": [{"type": "integer", "minimum": 3, "maximum": 2}, {"type": "null"}]}))
    assert union.accepts("null")
    empty = Grammar(compile_schema({"type": "array", "items": False}))
    assert empty.accepts("[]")
    assert not empty.accepts("[1]")


def test_properties_come_in_the_schemas_order_and_unsaid_ones_not_at_all() -> None:
    grammar = Grammar(compile_schema({"type": "object", "properties": {"b": {}, "a": {}}, "required": ["a"]}))
    assert grammar.accepts('{"b": 1, "a": 2}')
    assert not grammar.accepts('{"a": 2, "b": 1}')
    assert not grammar.accepts('{"a": 2, "c": 1}')


def test_nullable() -> None:
    assert Grammar(compile_schema({"type": "integer", "nullable": True})).accepts("null")


def test_recursion_is_bounded_and_the_bound_is_deep() -> None:
    schema = SUITE["ref-list"]
    grammar = Grammar(compile_schema(schema))

    def chain(length: int) -> str:
        value = None
        for _ in range(length):
            value = {"v": 1, "next": value}
        return json.dumps(value)

    assert grammar.accepts(chain(30))
    assert not grammar.accepts(chain(40))
    assert not Grammar(compile_schema(schema, Limits(max_recursion=3))).accepts(chain(4))


def test_a_recursive_schema_that_unrolls_too_far_is_given_less_depth() -> None:
    parts = {
        f"p{at}": {"anyOf": [{"$ref": "#"}, {"type": "string", "pattern": f"^[a-z]{{{at}}}$"}]} for at in range(1, 30)
    }
    schema = {"type": "object", "properties": parts}
    text = compile_schema(schema, Limits(max_chars=60_000))
    assert len(text) <= 64_000
    assert Grammar(text).accepts('{"p1": {"p2": "ab"}}')


def _chain(key: str, count: int, **more: Any) -> dict[str, Any]:
    """Each definition refers twice to the next: 2**count ways."""
    defs: dict[str, Any] = {f"d{at}": {key: [{"$ref": f"#/$defs/d{at + 1}"}] * 2, **more} for at in range(count)}
    return {"$defs": {**defs, f"d{count}": {"type": "integer"}}, "$ref": "#/$defs/d0"}


HOSTILE = {
    "any-of": _chain("anyOf", 30),
    "any-of with siblings": _chain("anyOf", 30, minimum=1),
    "all-of": _chain("allOf", 30),
    "one-of": _chain("oneOf", 30),
    "many branches": {"oneOf": [{"const": at} for at in range(3_000)]},
    "many branches with objects": {
        "oneOf": [{"properties": {"k": {"const": at}}, "required": ["k"]} for at in range(120)]
    },
    "many properties": {
        "properties": {f"p{at}": {"type": "string"} for at in range(1_800)},
        "additionalProperties": True,
    },
    "wide recursion": {"type": "object", "properties": {f"p{at}": {"$ref": "#"} for at in range(1_500)}},
    "meshed recursion": {
        "$defs": {
            f"d{at}": {"properties": {f"p{other}": {"$ref": f"#/$defs/d{other}"} for other in range(30)}}
            for at in range(30)
        },
        "$ref": "#/$defs/d0",
    },
    "nested pattern": {"pattern": "^" + "(" * 3_000 + "a" + ")" * 3_000 + "$"},
    "counted pattern": {"pattern": "^((((a{1,1000}){1,1000}){1,1000}){1,1000})$"},
    "long pattern": {"pattern": "^" + "[a-z]{3,77}" * 3_000 + "$"},
    "large counts": {
        "type": "array",
        "items": {"type": "string", "minLength": 999, "maxLength": 10**6},
        "minItems": 999,
    },
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_schemas_cost_little(name: str) -> None:
    begin = time.thread_time()
    try:
        text = compile_schema(HOSTILE[name])
    except UnsupportedSchema:
        text = ""
    assert time.thread_time() - begin < 5  # measured: 0.3
    assert len(text) <= 260 * 1024


def test_a_schema_whose_grammar_is_too_large_is_refused() -> None:
    schema = {"enum": [f"value number {at}" for at in range(3_000)]}
    with pytest.raises(UnsupportedSchema, match="too large"):
        compile_schema(schema, Limits(max_chars=10_000))


def test_caps_for_what_the_schema_leaves_open() -> None:
    limits = Limits(free_chars=4, free_items=2)
    schema = {
        "type": "object",
        "properties": {"s": {"type": "string"}, "l": {"type": "array"}, "m": {"type": "string", "minLength": 9}},
    }
    grammar = Grammar(compile_schema(schema, limits))
    assert grammar.accepts('{"s": "abcd", "l": [1, "abcd"]}')
    assert not grammar.accepts('{"s": "abcde"}')
    assert not grammar.accepts('{"l": [1, 2, 3]}')
    assert grammar.accepts('{"m": "123456789"}')
