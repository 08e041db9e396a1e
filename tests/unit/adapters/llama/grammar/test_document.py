"""References are resolved within the document, unions spread out, and the work is bounded."""

from typing import Any

import pytest

from adapters.llama.grammar.document import Document
from adapters.llama.grammar.errors import UnsupportedSchema
from adapters.llama.grammar.gbnf import Limits


def _document(root: Any, **limits: int) -> Document:
    return Document(root, Limits(**limits))


def test_resolve() -> None:
    document = _document({"$defs": {"a/b": [{"const": 1}]}})
    assert document.resolve("#", "") is document.root
    assert document.resolve("#/$defs/a~1b/0", "") == {"const": 1}
    for pointer in ("#/nope", "#/$defs/a~1b/7", "other.json", "#anchor", "https://x/y"):
        with pytest.raises(UnsupportedSchema) as caught:
            document.resolve(pointer, "/items")
        assert (caught.value.keyword, caught.value.path) == ("$ref", "/items")


def test_recursion_is_found_over_any_way() -> None:
    defs = {"a": {"items": {"$ref": "#/$defs/b"}}, "b": {"anyOf": [{"$ref": "#/$defs/a"}]}, "c": {"$ref": "#/$defs/a"}}
    document = _document({"$defs": defs})
    assert document.recursive("#/$defs/a")
    assert document.recursive("#/$defs/b")
    assert not document.recursive("#/$defs/c")


def test_expansion_multiplies_unions_and_drops_what_cannot_be() -> None:
    document = _document({})
    either = {"anyOf": [{"type": "string"}, {"type": "integer"}]}
    other = {"anyOf": [{"type": "integer"}, {"type": "null"}]}
    assert [set(flat.types or ()) for flat in document.expand({"allOf": [either, other]}, "")] == [{"integer"}]
    assert document.expand(False, "") == []
    assert len(document.expand(True, "")) == 1


@pytest.mark.parametrize(
    ("root", "keyword", "reason"),
    [
        ({"$ref": "#"}, "$ref", "circle"),
        ({"anyOf": []}, "anyOf", "non-empty"),
        ({"allOf": {}}, "allOf", "non-empty"),
        (7, "schema", "object or a boolean"),
        ({"allOf": [{"anyOf": [{"minimum": n} for n in range(40)]}] * 2}, "anyOf", "multiply"),
    ],
)
def test_refusals(root: Any, keyword: str, reason: str) -> None:
    with pytest.raises(UnsupportedSchema, match=reason) as caught:
        _document(root).expand(root, "")
    assert caught.value.keyword == keyword


def test_size_and_depth_are_bounded() -> None:
    with pytest.raises(UnsupportedSchema, match="longer than 65536"):
        _document({"enum": ["x" * 70_000]})
    deep: dict[str, Any] = {}
    for _ in range(40):
        deep = {"properties": {"p": deep}}
    with pytest.raises(UnsupportedSchema, match="deeper than 32"):
        _document(deep)
    with pytest.raises(UnsupportedSchema, match="not JSON"):
        _document({"const": float("nan")})


def test_only() -> None:
    document = _document({})
    assert document.only({"$ref": "#", "title": "t", "$defs": {}}, "$ref")
    assert not document.only({"$ref": "#", "maximum": 1}, "$ref")
    assert not document.only({"anyOf": [{}], "not": {}}, "anyOf")
