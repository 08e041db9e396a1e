"""Values made from JSON schemas are valid under them."""

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.mock.fill import fill

NODE = {
    "$defs": {"Node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}, "n": {"type": "integer"}}}},
    "$ref": "#/$defs/Node",
}

SCHEMAS = [
    {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}, "required": ["a"]},
    {"type": "array", "items": {"type": "number", "minimum": 5, "maximum": 6}, "minItems": 3},
    {"anyOf": [{"type": "null"}, {"type": "boolean"}]},
    {"oneOf": [{"const": "x"}, {"type": "integer"}]},
    {"type": ["string", "null"], "minLength": 20},
    {"type": "string", "maxLength": 2},
    {"type": "string", "format": "date"},
    {"enum": ["red", "green"]},
    {"allOf": [{"$ref": "#/$defs/A"}, {"properties": {"b": {"type": "integer"}}, "required": ["b"]}],
     "$defs": {"A": {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}}},
    {"properties": {"inner": {"type": "object", "properties": {}}}},
    {"type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 5},
    {"type": "null"},
    NODE,
]  # fmt: skip


@pytest.mark.parametrize("schema", SCHEMAS)
@pytest.mark.parametrize("prompt", ["", "What is magic_function(3)?", 'Say "già" 99 times'])
def test_a_value_is_valid(schema: dict[str, object], prompt: str) -> None:
    jsonschema.validate(fill(schema, prompt), schema)


def test_the_prompt_gives_the_number_and_the_word() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}, "s": {"type": "string"}}}
    assert fill(schema, "Take -12 of \"the blue ones\" and 4 of 'others'") == {"n": -12, "s": "the blue ones"}


def test_a_schema_without_an_end_comes_to_one() -> None:
    endless = {"$ref": "#"}
    assert fill(endless, "") is None
    required = {"type": "object", "properties": {"self": {"$ref": "#"}}, "required": ["self"]}
    value = fill(required, "")
    depth = 0
    while value is not None:
        value, depth = value["self"], depth + 1
    assert depth < 20


@given(st.text(max_size=60))
def test_any_prompt_is_fine(prompt: str) -> None:
    schema = {
        "type": "object",
        "properties": {"n": {"type": "number"}, "s": {"type": "string"}},
        "required": ["n", "s"],
    }
    jsonschema.validate(fill(schema, prompt), schema)
