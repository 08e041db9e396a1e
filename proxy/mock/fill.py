"""A JSON value that satisfies a JSON schema, with hints from the prompt.

Owns the generation of tool arguments and structured answers of the scripted backend. Does not validate and does not
know requests. Invariant: deterministic, and bounded in depth, whatever `$ref` cycle the schema has.
"""

import re
from typing import Any

Schema = dict[str, Any]

_DEPTH = 12
_FORMATS = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "time": "12:00:00",
    "email": "ferry@example.org",
    "uri": "https://example.org/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "192.0.2.1",
}


def fill(schema: Schema, prompt: str) -> Any:
    """A value for `schema`: the prompt's first integer for numbers, its first quoted span for strings."""
    return _value(schema, schema, _Hints(prompt), 0)


class _Hints:
    def __init__(self, prompt: str) -> None:
        number = re.search(r"-?\d+", prompt)
        quoted = re.search(r"\"([^\"]+)\"|'([^']+)'|`([^`]+)`|“([^”]+)”", prompt)
        self.integer = int(number.group()) if number else 1
        self.string = next(group for group in quoted.groups() if group) if quoted else "ferry"


def _value(schema: Any, root: Schema, hints: _Hints, depth: int) -> Any:
    if not isinstance(schema, dict) or depth > _DEPTH:
        return None
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    if "$ref" in schema:
        return _value(_resolve(schema["$ref"], root), root, hints, depth + 1)
    if schema.get("allOf"):
        return _value(_merged(schema["allOf"], root), root, hints, depth + 1)
    for key in ("anyOf", "oneOf"):
        if schema.get(key):
            options = [option for option in schema[key] if option.get("type") != "null"] or schema[key]
            return _value(options[0], root, hints, depth + 1)
    return _typed(schema, root, hints, depth)


def _typed(schema: Schema, root: Schema, hints: _Hints, depth: int) -> Any:
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = next((item for item in kind if item != "null"), "null")
    if kind == "object":
        properties = schema.get("properties", {})
        required = schema.get("required", [])
        # Past half the depth only what is required: a schema that refers to itself must come to an end.
        names = [name for name in properties if name in required or depth < _DEPTH // 2]
        return {name: _value(properties[name], root, hints, depth + 1) for name in names}
    if kind == "array":
        count = max(1, int(schema.get("minItems", 1)))
        items = schema.get("items", {"type": "string"})
        return [_value(items, root, hints, depth + 1) for _ in range(count)] if depth < _DEPTH else []
    if kind in ("integer", "number"):
        return _bounded(schema, hints.integer)
    if kind == "boolean":
        return True
    return None if kind == "null" else _string(schema, hints.string)


def _bounded(schema: Schema, number: int) -> int | float:
    low: int | float = schema.get("minimum", schema.get("exclusiveMinimum", number - 1) + 1)
    high: int | float = schema.get("maximum", schema.get("exclusiveMaximum", number + 1) - 1)
    return max(low, min(number, high))


def _string(schema: Schema, hint: str) -> str:
    text: str = _FORMATS.get(schema.get("format", ""), hint)
    text = text.ljust(int(schema.get("minLength", 0)), ".")
    return text[: int(schema["maxLength"])] if "maxLength" in schema else text


def _resolve(reference: str, root: Schema) -> Any:
    node: Any = root
    for step in reference.lstrip("#").strip("/").split("/"):
        if step:
            node = node.get(step.replace("~1", "/").replace("~0", "~"), {}) if isinstance(node, dict) else {}
    return node


def _merged(parts: list[Schema], root: Schema) -> Schema:
    merged: Schema = {}
    for part in parts:
        part = _resolve(part["$ref"], root) if "$ref" in part else part
        properties = {**merged.get("properties", {}), **part.get("properties", {})}
        required = [*merged.get("required", []), *part.get("required", [])]
        merged = {**merged, **part}
        if properties:
            merged["properties"], merged["required"] = properties, required
    return merged
