"""Random values for a JSON schema, by hand: mostly valid ones, with properties in the schema's order, and broken ones.

Independent of the grammar writer; callers ask a validator what is valid. Only what the suite's schemas use is known.
"""

import copy
import random
from typing import Any

_ALPHABET = 'abcXYZ 019-_.,é漢🜚"\\\n\t/'


class Values:
    """`value(schema)` is a guess at a valid value."""

    def __init__(self, root: dict[str, Any], rng: random.Random) -> None:
        self._root = root
        self._rng = rng
        self._depth = 0

    def value(self, schema: Any) -> Any:
        rng = self._rng
        if schema is True or schema is False or not schema:
            return rng.choice([None, True, 3, -1.5, "x", [], {"k": [1]}])
        self._depth += 1
        try:
            return self._value(schema)
        finally:
            self._depth -= 1

    def _value(self, schema: dict[str, Any]) -> Any:
        rng = self._rng
        if "$ref" in schema:
            rest = {key: value for key, value in schema.items() if key not in ("$ref", "$defs", "definitions")}
            return self.value({**self._resolve(schema["$ref"]), **rest})
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return rng.choice(schema["enum"])
        for union in ("oneOf", "anyOf"):
            if union in schema:
                parts = schema[union]
                plain = [part for part in parts if "$ref" not in part] or parts[:1]
                part = plain[0] if self._depth > 12 else rng.choice(parts)
                rest = {key: value for key, value in schema.items() if key != union}
                return self.value(_together(rest, part))
        if "allOf" in schema:
            rest = {key: value for key, value in schema.items() if key != "allOf"}
            for part in schema["allOf"]:
                rest = _together(rest, part)
            return self.value(rest)
        kind = schema.get("type", "object" if "properties" in schema else "string")
        kind = rng.choice(kind) if isinstance(kind, list) else kind
        return getattr(self, f"_{kind}")(schema)

    def _resolve(self, pointer: str) -> dict[str, Any]:
        node: Any = self._root
        for step in pointer.split("/")[1:]:
            node = node[step.replace("%20", " ").replace("~1", "/").replace("~0", "~")]
        return node

    def _null(self, _schema: dict[str, Any]) -> None:
        return None

    def _boolean(self, _schema: dict[str, Any]) -> bool:
        return self._rng.random() < 0.5

    def _integer(self, schema: dict[str, Any]) -> int:
        low, high = self._edges(schema)
        step = schema.get("multipleOf", 1)
        value = self._rng.choice([self._rng.randint(int(low), int(high)), int(low), int(high)])
        return value // step * step

    def _number(self, schema: dict[str, Any]) -> float:
        low, high = self._edges(schema)
        value = self._rng.choice([self._rng.uniform(low, high), low, high, int(self._rng.uniform(low, high))])
        value = round(value, self._rng.randint(0, 4)) if self._rng.random() < 0.9 else int(value)
        return value + 0.0 if value else 0  # never -0.0, which has no place among our numbers

    def _edges(self, schema: dict[str, Any]) -> tuple[float, float]:
        low = schema.get("minimum", schema.get("exclusiveMinimum"))
        high = schema.get("maximum", schema.get("exclusiveMaximum"))
        if low is None:
            low = -1000 if high is None else high - 1000
        return low, low + 1000 if high is None else high

    def _string(self, schema: dict[str, Any]) -> str:
        low, high = schema.get("minLength", 0), schema.get("maxLength", 12)
        size = self._rng.choice([low, min(high, low + 3), self._rng.randint(low, min(high, low + 20))])
        return "".join(self._rng.choice(_ALPHABET) for _ in range(size))

    def _array(self, schema: dict[str, Any]) -> list[Any]:
        prefix = schema.get("prefixItems", schema["items"] if isinstance(schema.get("items"), list) else [])
        items = (
            schema.get("additionalItems", False)
            if isinstance(schema.get("items"), list)
            else schema.get("items", not prefix)
        )
        low = schema.get("minItems", 0)
        high = schema.get("maxItems", low + 3)
        size = low if self._depth > 12 else self._rng.randint(low, high)
        out = []
        for at in range(size):
            part = prefix[at] if at < len(prefix) else items
            if part is False:
                break
            out.append(self.value(part))
        return out

    def _object(self, schema: dict[str, Any]) -> dict[str, Any]:
        out = {}
        required = schema.get("required", [])
        for name, part in schema.get("properties", {}).items():
            if name in required or self._rng.random() < (0.5 if self._depth < 8 else 0.1):
                out[name] = self.value(part)
        extra = schema.get("additionalProperties", not schema.get("properties"))
        for name in required:
            if name not in out:
                out[name] = self.value(extra)
        if extra is not False:
            keys = schema.get("propertyNames", {}).get("enum", ["aa", "k", "zz"])
            for key in self._rng.sample(keys, self._rng.randint(schema.get("minProperties", 0), min(len(keys), 2))):
                out.setdefault(key, self.value(extra))
        return out


def broken(value: Any, rng: random.Random) -> Any:
    """A copy of the value with one thing changed somewhere in it."""
    holder: list[Any] = [copy.deepcopy(value)]
    at: Any = holder
    key: Any = 0
    while isinstance(at[key], dict | list) and at[key] and rng.random() < 0.7:
        at = at[key]
        key = rng.choice(list(at)) if isinstance(at, dict) else rng.randrange(len(at))
    at[key] = rng.choice(_changes(at[key], rng))
    return holder[0]


def _changes(old: Any, rng: random.Random) -> list[Any]:
    choices: list[Any] = [None, True, 0, -1, 10**6, 2.75, "", "z" * 30, [], {}, [old], {"q": old}]
    if isinstance(old, str):
        choices += [old + "!", old[:-1], old.upper()]
    if isinstance(old, int | float) and not isinstance(old, bool):
        choices += [old + 1, old - 1, old * 10, -old, str(old)]
    if isinstance(old, list):
        choices += [[*old, *old], old[:-1], [*old, None]]
    if isinstance(old, dict) and old:
        gone = rng.choice(list(old))
        choices += [{k: v for k, v in old.items() if k != gone}, {**old, "unexpected": 1}]
    return choices


def _together(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    """Good enough a merge of two schemas for guessing."""
    if "$ref" in b or "anyOf" in b or "oneOf" in b:
        return {**a, **b}
    out = {**a, **b}
    if "properties" in a and "properties" in b:
        names = [*a["properties"], *(n for n in b["properties"] if n not in a["properties"])]
        out["properties"] = {n: {**a["properties"].get(n, {}), **b["properties"].get(n, {})} for n in names}
    if "required" in a or "required" in b:
        out["required"] = [*a.get("required", []), *b.get("required", [])]
    return out
