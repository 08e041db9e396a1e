"""From `response_format` to a grammar.

Owns the two shapes of json_schema (OpenAI's wrapper, Venice's bare schema), json_object, and the cache. Refuses to know
models. Invariant: the same schema, key order included, is compiled once per process while it stays in the cache.
"""

import json
from functools import lru_cache
from typing import Any

import msgspec

from adapters.llama.grammar.errors import UnsupportedSchema
from adapters.llama.grammar.flat import Schema
from adapters.llama.grammar.gbnf import Limits, Rules
from adapters.llama.grammar.schema import compile_schema
from adapters.llama.grammar.values import Values

_CACHED = 256
_SCHEMA_WORDS = frozenset(("type", "properties", "$ref", "anyOf", "oneOf", "allOf", "enum", "const", "items"))


class Gbnf(msgspec.Struct, frozen=True):
    """A grammar text with start `root`. With `triggers` (regular expressions over the answer so far) it begins only at
    a match, and there where group 1 begins."""

    text: str
    triggers: tuple[str, ...] = ()


def from_response_format(wanted: Any, limits: Limits | None = None) -> Gbnf | None:
    """None for text. Raises UnsupportedSchema."""
    if wanted is None:
        return None
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind == "text":
        return None
    if kind == "json_object":
        return Gbnf(json_object(limits))
    if kind != "json_schema":
        raise UnsupportedSchema("type", "", f"{kind!r} is not text, json_object or json_schema")
    return Gbnf(cached(bare_schema(wanted.get("json_schema")), limits))


def bare_schema(wanted: Any) -> Schema:
    """The schema out of either shape: {name, strict, schema} or the schema itself. Raises UnsupportedSchema."""
    if not isinstance(wanted, dict):
        raise UnsupportedSchema("json_schema", "", "must be an object")
    inner = wanted.get("schema")
    if isinstance(inner, dict | bool) and not _SCHEMA_WORDS & wanted.keys():
        return inner
    if "name" in wanted and "schema" not in wanted and not _SCHEMA_WORDS & wanted.keys():
        raise UnsupportedSchema("json_schema", "", "has no schema")
    return wanted


def cached(schema: Schema, limits: Limits | None = None) -> str:
    """GBNF text of a schema. Raises UnsupportedSchema."""
    try:
        text = json.dumps(schema, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise UnsupportedSchema("schema", "", f"it is not JSON: {error}") from error
    return _compiled(text, limits or Limits())


@lru_cache(maxsize=_CACHED)
def _compiled(schema: str, limits: Limits) -> str:
    return compile_schema(json.loads(schema), limits)


@lru_cache(maxsize=8)
def json_object(limits: Limits | None = None) -> str:
    """Any JSON object."""
    rules = Rules(limits or Limits())
    return rules.text(Values(rules).object())
