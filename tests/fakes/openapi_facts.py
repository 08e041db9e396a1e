"""Two OpenAPI documents, made comparable: JSON Schema of 2020 throughout, references followed, and each place of a schema told
as one Place, unions merged.

A place is named by its path: `messages[]<role=user>.content[]<type=text>.text`. Where objects of one array are told apart by
`role` or `type`, each value has places of its own.
"""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

Schema = dict[str, Any]
SEED = Path(__file__).resolve().parents[3] / "shared" / "seeds" / "venice-swagger.yaml"

LIMITS = {
    "string": ("minLength", "maxLength", "pattern", "format"),
    "array": ("minItems", "maxItems"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
}
DISCRIMINATORS = ("role", "type")


class _Loader(yaml.SafeLoader):
    """YAML 1.2's idea of a date: a text."""


_Loader.yaml_implicit_resolvers = {
    key: [(tag, pattern) for tag, pattern in rows if tag != "tag:yaml.org,2002:timestamp"]
    for key, rows in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def seed() -> Schema:
    """Venice's document, with the schemas of OpenAPI 3.1."""
    with SEED.open(encoding="utf-8") as file:
        document: Schema = yaml.load(file, _Loader)
    found: Schema = _modern(document)
    return found


def _modern(node: Any) -> Any:
    """3.0's `nullable` and boolean `exclusiveMinimum` → 2020's."""
    if isinstance(node, list):
        return [_modern(each) for each in node]
    if not isinstance(node, dict):
        return node
    out = {key: _modern(value) for key, value in node.items()}
    if out.get("exclusiveMinimum") is True:
        out["exclusiveMinimum"] = out.pop("minimum")
    nullable = out.pop("nullable", None) if not isinstance(out.get("nullable"), dict) else None
    if nullable and "type" in out:
        out["type"] = [out["type"], "null"]
        if "enum" in out:
            out["enum"] = [*out["enum"], None]
    elif nullable and not {"anyOf", "oneOf", "$ref"} & out.keys() and "additionalProperties" not in out:
        # Alone it is only used for "anything" and, inside a union, for null: both take a null.
        out["x-anything"] = True
    return out


def resolved(schema: Schema, document: Schema) -> Schema:
    """A schema that is no reference any more."""
    while "$ref" in schema:
        found: Any = document
        for step in schema["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        schema = found
    return schema


class Place:
    """What may stand at one path. Limits are sets, since the variants of a union may have one each."""

    def __init__(self) -> None:
        self.types: set[str] = set()
        self.values: set[Any] | None = set()  # None: not only these
        self.limits: dict[str, set[Any]] = {}
        self.required: set[str] | None = None
        self.properties: set[str] = set()
        self.closed: bool | None = None
        self.default: Any = ...

    def merge(self, other: "Place") -> None:
        self.types |= other.types
        if self.values is not None:
            self.values = None if other.values is None else self.values | other.values
        for key, values in other.limits.items():
            self.limits.setdefault(key, set()).update(values)
        if other.required is not None:
            self.required = other.required if self.required is None else self.required & other.required
        self.properties |= other.properties
        if other.closed is not None:
            self.closed = other.closed if self.closed is None else self.closed and other.closed
        if other.default is not ...:
            self.default = other.default


def places(schema: Schema, document: Schema) -> dict[str, Place]:
    """Path → Place, of everything in a schema."""
    found: dict[str, Place] = {}
    for path, place in _walk(schema, document, "", 0):
        found.setdefault(path, Place()).merge(place)
    return found


def _variants(schema: Schema, document: Schema) -> list[Schema]:
    """What a schema can be: the branches of its unions, each with what stands beside the union."""
    schema = resolved(schema, document)
    for word in ("anyOf", "oneOf"):
        if word in schema and any("type" in each or "$ref" in each or "enum" in each for each in schema[word]):
            rest = {key: value for key, value in schema.items() if key not in (word, "description", "title", "example")}
            default = {"default": rest.pop("default")} if "default" in rest else {}
            branches = [{**rest, **_plain(each, document)} for each in schema[word]]
            return [{**one, **default} for branch in branches for one in _variants(branch, document)]
    return [schema]


def _plain(each: Schema, document: Schema) -> Schema:
    """A branch; one that may be anything is the seed's way to write null."""
    each = copy.copy(resolved(each, document))
    return {"type": "null"} if each.pop("x-anything", None) else each


def _walk(schema: Schema, document: Schema, at: str, depth: int) -> Iterator[tuple[str, Place]]:
    for one in _variants(schema, document):
        for path in _told_apart(one, document, at):
            yield path, _place(one)
            if depth < 12:
                for name, inner in one.get("properties", {}).items():
                    yield from _walk(inner, document, f"{path}.{name}".lstrip("."), depth + 1)
                if isinstance(one.get("items"), dict):
                    yield from _walk(one["items"], document, f"{path}[]", depth + 1)


def _told_apart(one: Schema, document: Schema, at: str) -> list[str]:
    if at.endswith("[]") or at == "response_format":
        for key in DISCRIMINATORS:
            told = resolved(one.get("properties", {}).get(key, {}), document)
            values = told.get("enum", [told["const"]] if "const" in told else [])
            if 1 <= len(values) <= 3:
                return [f"{at}<{key}={value}>" for value in values]
    return [at]


def _place(one: Schema) -> Place:
    place = Place()
    given = one.get("type")
    types = set(given) if isinstance(given, list) else {given} if given else set()
    if not types and "properties" in one:
        types = {"object"}
    if not types and ("enum" in one or "const" in one):
        types = {"null" if v is None else {str: "string", bool: "boolean"}.get(type(v), "number") for v in _values(one)}
    if not types:
        types = {"null", "anything"} if one.get("x-anything") or not one else {"anything"}
    place.types = types
    if types != {"null"}:
        place.values = set(_values(one)) - {None} if "enum" in one or "const" in one else None
    if types == {"boolean"}:
        place.values = None
    for kind, words in LIMITS.items():
        if kind in types or (kind == "number" and "integer" in types):
            for word in words:
                if word in one:
                    name, value = _limit(word, one[word], whole="integer" in types)
                    place.limits.setdefault(name, set()).add(value)
    if "object" in types and ("properties" in one or one.get("required")):
        place.required = set(one.get("required", ()))
        place.properties = set(one.get("properties", ()))
        place.closed = one.get("additionalProperties") is False
    if "default" in one and one["default"] is not None:
        place.default = one["default"]
    return place


def _values(one: Schema) -> list[Any]:
    return list(one["enum"]) if "enum" in one else [one["const"]]


def _limit(word: str, value: Any, *, whole: bool) -> tuple[str, Any]:
    """Of whole numbers, "more than 0" is "at least 1"."""
    return ("minimum", value + 1) if whole and word == "exclusiveMinimum" else (word, value)


def strict(schema: Schema, document: Schema) -> Schema:
    """A schema without references whose objects take no field that they do not name."""
    schema = copy.deepcopy(resolved(schema, document))
    for key in ("properties", "patternProperties"):
        schema.update({key: {n: strict(s, document) for n, s in schema[key].items()}} if key in schema else {})
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            schema[key] = [strict(each, document) for each in schema[key]]
    if isinstance(schema.get("items"), dict):
        schema["items"] = strict(schema["items"], document)
    if schema.get("properties") and "additionalProperties" not in schema:
        schema["additionalProperties"] = False
    return schema
