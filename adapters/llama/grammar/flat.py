"""One schema without combinators: what a value of each type must obey.

Owns the keyword tables, the reading of one schema object and the merging of two. Refuses to know references and unions
(`expand` resolves them) and GBNF. Invariant: merging is exact intersection, or an UnsupportedSchema; sub-schemas are
merged lazily, as `{"allOf": [a, b]}`.
"""

from decimal import Decimal
from typing import Any

import msgspec

from adapters.llama.grammar.errors import UnsupportedSchema

Schema = Any  # a dict or a bool
TYPES = frozenset(("null", "boolean", "integer", "number", "string", "array", "object"))

REFUSED = {
    "not": "a grammar cannot say what a value must not be",
    "if": "conditions are not supported",
    "then": "conditions are not supported",
    "else": "conditions are not supported",
    "dependentSchemas": "conditions are not supported",
    "dependentRequired": "conditions are not supported",
    "dependencies": "conditions are not supported",
    "patternProperties": "name the properties, or use additionalProperties",
    "unevaluatedProperties": "use additionalProperties",
    "unevaluatedItems": "use items",
    "contains": "a grammar cannot count matching items",
    "minContains": "a grammar cannot count matching items",
    "maxContains": "a grammar cannot count matching items",
    "$dynamicRef": "only $ref within the schema is supported",
    "$recursiveRef": "only $ref within the schema is supported",
}
ARRAY_KEYS = frozenset(("items", "prefixItems", "additionalItems", "minItems", "maxItems", "uniqueItems"))
OBJECT_KEYS = frozenset(
    ("properties", "required", "additionalProperties", "propertyNames", "minProperties", "maxProperties")
)
STRING_KEYS = frozenset(("minLength", "maxLength", "pattern", "format"))
NUMBER_KEYS = frozenset(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"))
_NUMBER_FORMATS = {"int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1), "uint32": (0, 2**32 - 1)}
_NUMBER_FORMATS |= {"uint64": (0, 2**64 - 1), "uint8": (0, 255), "int8": (-128, 127), "uint16": (0, 65535)}
_NUMBER_FORMATS |= {"int16": (-32768, 32767)}

Bound = tuple[Decimal, bool]


class Flat(msgspec.Struct, frozen=True, kw_only=True):
    """All keywords of one schema. `types` None: any. `additional`, `items` None: not said."""

    types: frozenset[str] | None = None
    enum: tuple[Any, ...] | None = None
    low: Bound | None = None
    high: Bound | None = None
    multiple: Decimal | None = None
    min_length: int = 0
    max_length: int | None = None
    patterns: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    properties: dict[str, Schema] = {}
    required: tuple[str, ...] = ()
    additional: Schema | None = None
    names: Schema | None = None
    min_properties: int = 0
    max_properties: int | None = None
    prefix: tuple[Schema, ...] = ()
    items: Schema | None = None
    min_items: int = 0
    max_items: int | None = None
    said: frozenset[str] = frozenset()  # the keywords that were there, for the types that they imply

    def implied_types(self) -> frozenset[str]:
        """The types, or those that the keywords speak of; empty when nothing is said."""
        if self.types is not None:
            return self.types
        out = set()
        for keys, kind in (
            (OBJECT_KEYS, "object"),
            (ARRAY_KEYS, "array"),
            (STRING_KEYS, "string"),
            (NUMBER_KEYS, "number"),
        ):
            if keys & self.said:
                out.add(kind)
        return frozenset(out)


def read(schema: dict[str, Any], path: str) -> Flat:
    """The keywords of one schema object, but for combinators. Raises UnsupportedSchema."""
    for key, reason in REFUSED.items():
        if key in schema and not (key in ("unevaluatedProperties", "unevaluatedItems") and schema[key] is True):
            raise UnsupportedSchema(key, path, reason)
    said = frozenset(key for key in schema if key in ARRAY_KEYS | OBJECT_KEYS | STRING_KEYS | NUMBER_KEYS)
    types = _types(schema, path)
    prefix, items = _items(schema, path)
    low, high, multiple = _numbers(schema, types, path)
    formats: tuple[str, ...] = ()
    if "format" in schema and schema["format"] not in _NUMBER_FORMATS and schema["format"] not in ("float", "double"):
        formats = (_text(schema, "format", path),)
    else:
        said -= {"format"}
    if schema.get("uniqueItems") is True and (_count(schema, "maxItems", path) or 2) > 1:
        raise UnsupportedSchema("uniqueItems", path, "a grammar cannot compare items")
    properties = _kind(schema, "properties", dict, path) or {}
    required = _kind(schema, "required", list, path) or []
    if not all(isinstance(name, str) for name in required):
        raise UnsupportedSchema("required", path, "must be a list of names")
    return Flat(
        types=types,
        enum=_enum(schema, path),
        low=low,
        high=high,
        multiple=multiple,
        min_length=_count(schema, "minLength", path) or 0,
        max_length=_count(schema, "maxLength", path),
        patterns=(_text(schema, "pattern", path),) if "pattern" in schema else (),
        formats=formats,
        properties=properties,
        required=tuple(dict.fromkeys(required)),
        additional=schema.get("additionalProperties"),
        names=schema.get("propertyNames"),
        min_properties=_count(schema, "minProperties", path) or 0,
        max_properties=_count(schema, "maxProperties", path),
        prefix=prefix,
        items=items,
        min_items=_count(schema, "minItems", path) or 0,
        max_items=_count(schema, "maxItems", path),
        said=said,
    )


def merge(a: Flat, b: Flat, path: str) -> Flat | None:
    """What obeys both; None when nothing can. Raises UnsupportedSchema where that cannot be said exactly."""
    types = b.types if a.types is None else a.types if b.types is None else _common(a.types, b.types)
    enum = b.enum if a.enum is None else a.enum
    if a.enum is not None and b.enum is not None:
        enum = tuple(value for value in a.enum if any(same(value, other) for other in b.enum))
    if (types is not None and not types) or (enum is not None and not enum):
        return None
    if a.multiple is not None and b.multiple is not None and a.multiple != b.multiple:
        raise UnsupportedSchema("multipleOf", path, "two different divisors")
    prefix, items = _merged_items(a, b)
    return Flat(
        types=types,
        enum=enum,
        low=_tighter(a.low, b.low, 1),
        high=_tighter(a.high, b.high, -1),
        multiple=a.multiple if a.multiple is not None else b.multiple,
        min_length=max(a.min_length, b.min_length),
        max_length=_least(a.max_length, b.max_length),
        patterns=tuple(dict.fromkeys(a.patterns + b.patterns)),
        formats=tuple(dict.fromkeys(a.formats + b.formats)),
        properties=_merged_properties(a, b),
        required=tuple(dict.fromkeys(a.required + b.required)),
        additional=both(a.additional, b.additional),
        names=both(a.names, b.names),
        min_properties=max(a.min_properties, b.min_properties),
        max_properties=_least(a.max_properties, b.max_properties),
        prefix=prefix,
        items=items,
        min_items=max(a.min_items, b.min_items),
        max_items=_least(a.max_items, b.max_items),
        said=a.said | b.said,
    )


def both(a: Schema | None, b: Schema | None) -> Schema | None:
    """The schema of what obeys both; None is "not said"."""
    if a is None or b is None:
        return b if a is None else a
    if a is False or b is False:
        return False
    if a is True or a == {} or a == b:
        return b
    return a if b is True or b == {} else {"allOf": [a, b]}


def same(a: object, b: object) -> bool:
    """Equality of JSON values: 1 is 1.0, but true is not 1."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(value, b[key]) for key, value in a.items())
    return a == b


def type_of(value: object) -> str:
    """The narrowest type name of a JSON value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return "integer"
    return {float: "number", str: "string", list: "array"}.get(type(value), "object")


def _common(a: frozenset[str], b: frozenset[str]) -> frozenset[str]:
    out = set(a & b)
    if ("integer" in a and "number" in b) or ("number" in a and "integer" in b):
        out.add("integer")
    return frozenset(out)


def _least(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else min(a, b)


def _tighter(a: Bound | None, b: Bound | None, sign: int) -> Bound | None:
    """The bound that lets less through; `sign` 1 for lower bounds, -1 for upper ones."""
    if a is None or b is None:
        return b if a is None else a
    return max(a, b, key=lambda bound: (bound[0] * sign, bound[1]))


def _merged_properties(a: Flat, b: Flat) -> dict[str, Schema]:
    out = {}
    for name in dict.fromkeys([*a.properties, *b.properties]):
        mine = a.properties.get(name, a.additional)
        other = b.properties.get(name, b.additional)
        merged = both(mine, other)
        out[name] = True if merged is None else merged
    return out


def _merged_items(a: Flat, b: Flat) -> tuple[tuple[Schema, ...], Schema | None]:
    prefix = []
    for at in range(max(len(a.prefix), len(b.prefix))):
        mine = a.prefix[at] if at < len(a.prefix) else a.items
        other = b.prefix[at] if at < len(b.prefix) else b.items
        merged = both(mine, other)
        prefix.append(True if merged is None else merged)
    return tuple(prefix), both(a.items, b.items)


def _types(schema: dict[str, Any], path: str) -> frozenset[str] | None:
    named = schema.get("type")
    if named is None:
        return None
    types = [named] if isinstance(named, str) else named
    if not isinstance(types, list) or not types or not all(isinstance(name, str) and name in TYPES for name in types):
        raise UnsupportedSchema("type", path, f"must be one or more of {', '.join(sorted(TYPES))}")
    if schema.get("nullable") is True and "enum" not in schema and "const" not in schema:
        types = [*types, "null"]
    return frozenset(types)


def _enum(schema: dict[str, Any], path: str) -> tuple[Any, ...] | None:
    values = _kind(schema, "enum", list, path)
    if "const" in schema:
        const = schema["const"]
        return (const,) if values is None or any(same(const, value) for value in values) else ()
    return None if values is None else tuple(values)


def _items(schema: dict[str, Any], path: str) -> tuple[tuple[Schema, ...], Schema | None]:
    items = schema.get("items")
    if isinstance(items, list):  # the older drafts' way of writing prefixItems
        return tuple(items), schema.get("additionalItems")
    return tuple(_kind(schema, "prefixItems", list, path) or ()), items


def _numbers(
    schema: dict[str, Any], types: frozenset[str] | None, path: str
) -> tuple[Bound | None, Bound | None, Decimal | None]:
    low, high = _bound(schema, "minimum", "exclusiveMinimum", path), _bound(schema, "maximum", "exclusiveMaximum", path)
    if types is not None and types <= {"integer", "number", "null"}:
        edges = _NUMBER_FORMATS.get(str(schema.get("format")))
        if edges is not None:
            low = _tighter(low, (Decimal(edges[0]), False), 1)
            high = _tighter(high, (Decimal(edges[1]), False), -1)
    multiple = _number(schema, "multipleOf", path)
    if multiple is not None and multiple <= 0:
        raise UnsupportedSchema("multipleOf", path, "must be greater than zero")
    return low, high, multiple


def _bound(schema: dict[str, Any], key: str, exclusive: str, path: str) -> Bound | None:
    if isinstance(schema.get(exclusive), bool):  # draft 4: a flag beside the bound
        value = _number(schema, key, path)
        return None if value is None else (value, schema[exclusive])
    plain, strict = _number(schema, key, path), _number(schema, exclusive, path)
    sign = 1 if key == "minimum" else -1
    return _tighter(None if plain is None else (plain, False), None if strict is None else (strict, True), sign)


def _number(schema: dict[str, Any], key: str, path: str) -> Decimal | None:
    value = schema.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value or abs(value) > 1e30:
        raise UnsupportedSchema(key, path, "must be a number of at most 30 digits")
    return Decimal(str(value))


def _count(schema: dict[str, Any], key: str, path: str) -> int | None:
    value = schema.get(key)
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise UnsupportedSchema(key, path, "must be a whole number that is not negative")
    return value


def _text(schema: dict[str, Any], key: str, path: str) -> str:
    if not isinstance(schema[key], str):
        raise UnsupportedSchema(key, path, "must be a string")
    text: str = schema[key]
    return text


def _kind(schema: dict[str, Any], key: str, kind: type, path: str) -> Any:
    value = schema.get(key)
    if value is not None and not isinstance(value, kind):
        raise UnsupportedSchema(key, path, f"must be {'an object' if kind is dict else 'a list'}")
    return value
