"""`response_format` in both shapes becomes a grammar, compiled once."""

import pytest

from adapters.llama.grammar import response
from adapters.llama.grammar.errors import UnsupportedSchema
from adapters.llama.grammar.response import Gbnf, bare_schema, from_response_format
from fakes.gbnf import Grammar

SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}


def test_text_needs_none() -> None:
    assert from_response_format(None) is None
    assert from_response_format({"type": "text"}) is None


def test_both_shapes_give_the_same() -> None:
    openai = from_response_format(
        {"type": "json_schema", "json_schema": {"name": "a", "strict": True, "schema": SCHEMA}}
    )
    venice = from_response_format({"type": "json_schema", "json_schema": SCHEMA})
    assert openai == venice
    assert isinstance(openai, Gbnf)
    assert openai.triggers == ()
    assert Grammar(openai.text).accepts('{"age": 3}')


def test_a_bare_schema_may_have_a_property_called_schema() -> None:
    schema = {"type": "object", "properties": {"schema": {"type": "null"}}, "schema": {}}
    assert bare_schema(schema) is schema


def test_json_object() -> None:
    grammar = from_response_format({"type": "json_object"})
    assert grammar is not None
    assert Grammar(grammar.text).accepts('{"a": [1]}')
    assert not Grammar(grammar.text).accepts("[1]")


@pytest.mark.parametrize(
    "wanted",
    [
        "json",
        {"type": "xml"},
        {"type": "json_schema"},
        {"type": "json_schema", "json_schema": []},
        {"type": "json_schema", "json_schema": {"name": "a"}},
        {"type": "json_schema", "json_schema": {"name": "a", "schema": {"not": {}}}},
        {"type": "json_schema", "json_schema": {"const": float("inf")}},
    ],
)
def test_refusals(wanted: object) -> None:
    with pytest.raises(UnsupportedSchema):
        from_response_format(wanted)


def test_a_schema_is_compiled_once_per_key_order(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []
    inner = response.compile_schema
    monkeypatch.setattr(response, "compile_schema", lambda *args: compiled.append(1) or inner(*args))
    properties = {"once-a": {"type": "null"}, "once-b": {"type": "null"}}
    for _ in range(3):
        response.cached({"type": "object", "properties": properties})
    assert len(compiled) == 1
    response.cached({"type": "object", "properties": dict(reversed(properties.items()))})
    assert len(compiled) == 2
