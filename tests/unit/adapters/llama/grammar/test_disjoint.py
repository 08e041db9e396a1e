"""`oneOf` passes only where its branches provably exclude each other."""

from typing import Any

import pytest

from adapters.llama.grammar.errors import UnsupportedSchema
from adapters.llama.grammar.schema import compile_schema


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required}


APART = [
    [{"type": "string"}, {"type": "integer"}, {"type": "null"}],
    [{"enum": [1, "a"]}, {"enum": [2, "b", True]}],
    [{"type": "number", "maximum": 3}, {"type": "integer", "exclusiveMinimum": 3}],
    [{"type": "string", "maxLength": 3}, {"type": "string", "minLength": 4}],
    [{"type": "array", "maxItems": 1}, {"type": "array", "minItems": 2}],
    [_object(["k"], k={"const": "a"}), _object(["k"], k={"enum": ["b", "c"]})],
    [_object(["a"], a={}), _object(["b"], b={})],
    [_object(["d"], d=_object(["k"], k={"const": 1})), _object(["d"], d=_object(["k"], k={"const": 2}))],
]
TOGETHER = [
    [{"type": "integer"}, {"type": "number"}],
    [{"enum": [1, "a"]}, {"enum": [1.0]}],
    [{"type": "string"}, {"type": "string", "minLength": 4}],
    [{"type": "number", "maximum": 3}, {"type": "number", "minimum": 3}],
    [_object(["k"], k={"const": "a"}), _object([], k={"const": "b"})],
    [_object(["a"], a={}, b={}), _object(["b"], b={})],
    [{}, {"type": "null"}],
    [{"type": "string", "pattern": "^a$"}, {"type": "string", "pattern": "^b$"}],
]


@pytest.mark.parametrize("branches", APART)
def test_apart(branches: list[Any]) -> None:
    compile_schema({"oneOf": branches})


@pytest.mark.parametrize("branches", TOGETHER)
def test_together(branches: list[Any]) -> None:
    with pytest.raises(UnsupportedSchema, match="branches 0 and 1 may both be valid") as caught:
        compile_schema({"oneOf": branches})
    assert caught.value.keyword == "oneOf"


def test_what_siblings_or_an_outer_schema_add_is_counted() -> None:
    branches = [_object(["a"], a={}), _object(["b"], b={})]
    with pytest.raises(UnsupportedSchema):
        compile_schema({"properties": {"b": {}}, "oneOf": branches})
    with pytest.raises(UnsupportedSchema):
        compile_schema({"allOf": [{"oneOf": branches}, {"properties": {"b": {}}}]})
