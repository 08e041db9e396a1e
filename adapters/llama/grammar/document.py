"""The schema document: references, recursion, and unions spread out.

Owns `$ref` resolution within the document, which references are recursive, and the expansion of one schema into
alternatives without combinators. Refuses to fetch anything and to know GBNF. Invariant: the work is bounded; a schema
whose alternatives multiply too far is refused, not tried.
"""

import json
from typing import Any
from urllib.parse import unquote

from adapters.llama.grammar import disjoint
from adapters.llama.grammar.errors import UnsupportedSchema
from adapters.llama.grammar.flat import (
    ARRAY_KEYS,
    NUMBER_KEYS,
    OBJECT_KEYS,
    REFUSED,
    STRING_KEYS,
    Flat,
    Schema,
    merge,
    read,
)
from adapters.llama.grammar.gbnf import Limits

_MAX_REF_CHAIN = 32
_MAX_EXPANSIONS = 20_000  # schemas read, over all alternatives; a large honest schema stays under 2,000
# without influence on what is valid; anything else that is unknown is an annotation too
_VERDICTS = (
    ARRAY_KEYS | OBJECT_KEYS | STRING_KEYS | NUMBER_KEYS | frozenset(REFUSED)
    | {"type", "enum", "const", "nullable", "$ref", "allOf", "anyOf", "oneOf"}
)  # fmt: skip


class Document:
    """One root schema. Raises UnsupportedSchema if it is too large or too deep."""

    def __init__(self, root: Schema, limits: Limits) -> None:
        self.root = root
        self.limits = limits
        self._graph: dict[str, frozenset[str]] = {}
        self._recursive: dict[str, bool] = {}
        self._expanded = 0
        try:
            size = len(json.dumps(root, ensure_ascii=False, allow_nan=False))
        except (ValueError, TypeError, RecursionError) as error:
            raise UnsupportedSchema("schema", "", f"it is not JSON: {error}") from error
        if size > limits.max_schema_chars:
            raise UnsupportedSchema("schema", "", f"it is longer than {limits.max_schema_chars} characters")
        self._check_depth(root, "", 0)

    def resolve(self, pointer: str, path: str) -> Schema:
        """What `$ref: pointer` stands for."""
        if pointer == "#":
            return self.root
        if not isinstance(pointer, str) or not pointer.startswith("#/"):
            raise UnsupportedSchema("$ref", path, f"{pointer!r} is not within the schema")
        node = self.root
        for step in pointer[2:].split("/"):
            key = _unescaped(step)
            if isinstance(node, dict) and key in node:
                node = node[key]
            elif isinstance(node, list) and key.isdigit() and int(key) < len(node):
                node = node[int(key)]
            else:
                raise UnsupportedSchema("$ref", path, f"{pointer!r} points nowhere")
        return node

    def recursive(self, pointer: str) -> bool:
        """Whether the schema at `pointer` refers to itself, over whatever way."""
        if pointer not in self._recursive:
            self._recursive[pointer] = self._reaches_itself(pointer)
        return self._recursive[pointer]

    def _reaches_itself(self, pointer: str) -> bool:
        seen: set[str] = set()
        todo = list(self._refs(pointer))
        while todo:
            other = todo.pop()
            if other == pointer:
                return True
            if other not in seen:
                seen.add(other)
                todo += self._refs(other)
        return False

    def expand(self, schema: Schema, path: str, chain: int = 0) -> list[Flat]:
        """Alternatives without combinators, of which a valid value obeys one; empty when nothing is valid."""
        self._expanded += 1
        if self._expanded > _MAX_EXPANSIONS:
            raise UnsupportedSchema("anyOf", path, "its alternatives multiply too far")
        if schema is True:
            return [Flat()]
        if schema is False:
            return []
        if not isinstance(schema, dict):
            raise UnsupportedSchema("schema", path, "a schema must be an object or a boolean")
        if chain > _MAX_REF_CHAIN:
            raise UnsupportedSchema("$ref", path, "references go round in a circle")
        found = [read(schema, path)]
        if "$ref" in schema:
            target = self.resolve(schema["$ref"], path)
            found = self._product(found, self.expand(target, path, chain + 1), path)
        for at, part in enumerate(self.branches(schema, "allOf", path)):
            found = self._product(found, self.expand(part, f"{path}/allOf/{at}", chain + 1), path)
        if "anyOf" in schema:
            union = []
            for at, part in enumerate(self.branches(schema, "anyOf", path)):
                union += self.expand(part, f"{path}/anyOf/{at}", chain + 1)
            found = self._product(found, union, path)
        if "oneOf" in schema:
            parts = self.branches(schema, "oneOf", path)
            each = [
                self._product(found, self.expand(part, f"{path}/oneOf/{at}", chain + 1), path)
                for at, part in enumerate(parts)
            ]
            disjoint.check(each, self, path, final=chain == 0)
            found = [flat for part in each for flat in part]
        return found

    def branches(self, schema: dict[str, Any], key: str, path: str) -> list[Schema]:
        """The list at a combinator."""
        parts = schema.get(key, [])
        if not isinstance(parts, list) or (key in schema and not parts):
            raise UnsupportedSchema(key, path, "must be a non-empty list")
        return parts

    def only(self, schema: Schema, key: str) -> bool:
        """Whether the combinator is all that the schema says about validity."""
        return isinstance(schema, dict) and key in schema and schema.keys() & _VERDICTS == {key}

    def _product(self, left: list[Flat], right: list[Flat], path: str) -> list[Flat]:
        if len(left) * len(right) > self.limits.max_alternatives:
            raise UnsupportedSchema("anyOf", path, "its alternatives multiply too far")
        return [flat for a in left for b in right if (flat := merge(a, b, path)) is not None]

    def _refs(self, pointer: str) -> frozenset[str]:
        if pointer not in self._graph:
            refs: set[str] = set()
            todo = [self.resolve(pointer, pointer)]
            while todo:
                node = todo.pop()
                if isinstance(node, dict):
                    if isinstance(node.get("$ref"), str):
                        refs.add(node["$ref"])
                    todo += [value for key, value in node.items() if key not in ("$defs", "definitions")]
                elif isinstance(node, list):
                    todo += node
            self._graph[pointer] = frozenset(refs)
        return self._graph[pointer]

    def _check_depth(self, node: object, path: str, depth: int) -> None:
        """Nesting of schemas; each level of it is about two of JSON."""
        if depth > 2 * self.limits.max_depth:
            raise UnsupportedSchema("schema", path, f"it is nested deeper than {self.limits.max_depth} levels")
        if isinstance(node, dict):
            for key, value in node.items():
                self._check_depth(value, f"{path}/{key}", depth + 1)
        elif isinstance(node, list):
            for at, value in enumerate(node):
                self._check_depth(value, f"{path}/{at}", depth)


def _unescaped(step: str) -> str:
    return unquote(step).replace("~1", "/").replace("~0", "~")
