"""Keywords are read strictly and merged as intersections."""

from decimal import Decimal

import pytest

from adapters.llama.grammar.errors import UnsupportedSchema
from adapters.llama.grammar.flat import REFUSED, Flat, both, merge, read, same, type_of


@pytest.mark.parametrize("keyword", sorted(REFUSED))
def test_refused_keywords_are_named(keyword: str) -> None:
    with pytest.raises(UnsupportedSchema) as caught:
        read({"type": "object", keyword: {}}, "/properties/p")
    assert (caught.value.keyword, caught.value.path) == (keyword, "/properties/p")


@pytest.mark.parametrize(
    ("schema", "keyword"),
    [
        ({"type": "text"}, "type"), ({"type": []}, "type"), ({"type": 3}, "type"), ({"enum": "a"}, "enum"),
        ({"minLength": -1}, "minLength"), ({"maxLength": 1.5}, "maxLength"), ({"minItems": "1"}, "minItems"),
        ({"minimum": "3"}, "minimum"), ({"maximum": True}, "maximum"), ({"multipleOf": 0}, "multipleOf"),
        ({"pattern": 3}, "pattern"), ({"properties": []}, "properties"), ({"required": "a"}, "required"),
        ({"required": [1]}, "required"), ({"uniqueItems": True}, "uniqueItems"), ({"prefixItems": {}}, "prefixItems"),
    ],
)  # fmt: skip
def test_malformed_keywords_are_named(schema: dict[str, object], keyword: str) -> None:
    with pytest.raises(UnsupportedSchema) as caught:
        read(schema, "")
    assert caught.value.keyword == keyword


def test_bounds_of_all_spellings() -> None:
    assert read({"minimum": 1, "exclusiveMinimum": 1}, "").low == (Decimal(1), True)
    assert read({"maximum": 2, "exclusiveMaximum": 3}, "").high == (Decimal(2), False)
    assert read({"minimum": 1, "exclusiveMinimum": True}, "").low == (Decimal(1), True)
    assert read({"type": "integer", "format": "uint8"}, "").high == (Decimal(255), False)
    assert read({"minLength": 2.0}, "").min_length == 2


def test_implied_types() -> None:
    assert read({"properties": {}}, "").implied_types() == {"object"}
    assert read({"items": {}, "minLength": 1}, "").implied_types() == {"array", "string"}
    assert read({"title": "x"}, "").implied_types() == frozenset()
    assert read({"type": "null", "minimum": 1}, "").implied_types() == {"null"}
    assert read({"type": "string", "nullable": True}, "").implied_types() == {"string", "null"}


def test_merging() -> None:
    a = read({"type": ["number", "string"], "minimum": 1, "maxLength": 5, "required": ["a"]}, "")
    b = read({"type": ["integer", "string"], "exclusiveMinimum": 1, "maxLength": 9, "required": ["b", "a"]}, "")
    merged = merge(a, b, "")
    assert merged is not None
    assert (merged.types, merged.low, merged.max_length, merged.required) == (
        {"integer", "string"}, (Decimal(1), True), 5, ("a", "b")
    )  # fmt: skip
    assert merge(Flat(types=frozenset({"string"})), Flat(types=frozenset({"null"})), "") is None
    assert merge(Flat(enum=(1, "a")), Flat(enum=("a", True)), "").enum == ("a",)  # type: ignore[union-attr]
    assert merge(Flat(enum=(1,)), Flat(enum=(True,)), "") is None


def test_a_closed_side_closes_the_merge() -> None:
    closed = read({"properties": {"a": {}}, "additionalProperties": False}, "")
    other = read({"properties": {"a": {"type": "null"}, "b": {}}}, "")
    merged = merge(closed, other, "")
    assert merged is not None
    assert merged.properties == {"a": {"type": "null"}, "b": False}


def test_small_functions() -> None:
    assert both(None, None) is None
    assert both(True, {"type": "null"}) == {"type": "null"}
    assert both({"type": "null"}, False) is False
    assert both({"a": 1}, {"b": 1}) == {"allOf": [{"a": 1}, {"b": 1}]}
    assert same([1, {"a": 1.0}], [1.0, {"a": 1}])
    assert not same(1, True)
    kinds = [type_of(v) for v in (None, True, 1, 2.0, 2.5, "", [], {})]
    assert kinds == ["null", "boolean", "integer", "integer", "number", "string", "array", "object"]
