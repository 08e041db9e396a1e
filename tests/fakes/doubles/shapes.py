"""Closed shapes for JSON bodies: which fields there are, of which kind, within which bounds. Unknown fields are wrong.

It owns the check and says what is wrong in neutral words with a path; each double puts them into its own envelope.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


class Field(NamedTuple):
    """`kind` may name several, separated by |. `low` and `high` bound numbers, and lengths of strings and arrays."""

    kind: str
    required: bool = False
    low: float | None = None
    high: float | None = None
    enum: tuple[Any, ...] | None = None
    item: "Field | None" = None
    fields: "Mapping[str, Field] | None" = None
    null: bool = False


def wrong(value: Any, fields: Mapping[str, Field], path: str = "") -> Iterator[tuple[str, str]]:
    """(path, complaint) for each fault of an object."""
    for name, field in fields.items():
        if field.required and value.get(name) is None:
            yield path + name, "is required"
    for name, given in value.items():
        if name not in fields:
            yield path + name, "unknown field"
        elif given is None:
            if not fields[name].null:
                yield path + name, "must not be null"
        else:
            yield from _wrong(given, fields[name], path + name)


def _wrong(value: Any, field: Field, path: str) -> Iterator[tuple[str, str]]:
    kinds = field.kind.split("|")
    fits = [k for k in kinds if isinstance(value, KINDS[k]) and not (isinstance(value, bool) and k != "boolean")]
    if not fits:
        yield path, f"must be {' or '.join(kinds)}"
        return
    if field.enum is not None and value not in field.enum:
        yield path, "must be one of " + ", ".join(str(e) for e in field.enum)
    size = len(value) if isinstance(value, str | list) else value
    if isinstance(size, int | float) and not isinstance(size, bool):
        if field.low is not None and size < field.low:
            yield path, f"must be at least {field.low:g}"
        if field.high is not None and size > field.high:
            yield path, f"must be at most {field.high:g}"
    if isinstance(value, list) and field.item is not None:
        for number, item in enumerate(value):
            yield from _wrong(item, field.item, f"{path}[{number}]")
    if isinstance(value, dict) and field.fields is not None:
        yield from wrong(value, field.fields, path + ".")


def string(required: bool = False, low: int | None = None, high: int | None = None, **more: Any) -> Field:
    return Field("string", required, low, high, **more)


def integer(low: float | None = None, high: float | None = None, required: bool = False, **more: Any) -> Field:
    return Field("integer", required, low, high, **more)


def number(low: float | None = None, high: float | None = None, required: bool = False, **more: Any) -> Field:
    return Field("number", required, low, high, **more)


def boolean(**more: Any) -> Field:
    return Field("boolean", **more)
