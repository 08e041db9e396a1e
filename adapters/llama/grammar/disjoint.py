"""Whether the branches of `oneOf` exclude each other.

Owns a cautious proof: different types, different constants of a required property, a required property that the other
side never writes, bounds that do not meet. Refuses (UnsupportedSchema) what it cannot prove. Invariant: a branch that
passes writes nothing that another branch would also take.
"""

from typing import TYPE_CHECKING

from adapters.llama.grammar.errors import UnsupportedSchema
from adapters.llama.grammar.flat import TYPES, Flat, same, type_of

if TYPE_CHECKING:
    from adapters.llama.grammar.document import Document

_MAX_DEPTH = 4
_MAX_BRANCHES = 128  # each pair is compared


def check(branches: list[list[Flat]], document: "Document", path: str, final: bool) -> None:
    """Raises UnsupportedSchema unless every two branches exclude each other.

    `final`: nothing more will be merged into them, so that objects whose further properties are not spoken of stay as
    they are.
    """
    if sum(len(branch) for branch in branches) > _MAX_BRANCHES:
        raise UnsupportedSchema("oneOf", path, f"more than {_MAX_BRANCHES} branches")
    for at, left in enumerate(branches):
        for other in range(at + 1, len(branches)):
            if not all(_apart(a, b, document, 0, final) for a in left for b in branches[other]):
                reason = f"branches {at} and {other} may both be valid for one value; use anyOf"
                raise UnsupportedSchema("oneOf", path, reason)


def _apart(a: Flat, b: Flat, document: "Document", depth: int, final: bool) -> bool:
    if a.enum is not None and b.enum is not None:
        return not any(same(x, y) for x in a.enum for y in b.enum)
    kinds = _kinds(a) & _kinds(b)
    return all(_apart_as(kind, a, b, document, depth, final) for kind in kinds)


def _kinds(flat: Flat) -> frozenset[str]:
    """Types that a value of this may have; every integer is a number too."""
    if flat.enum is not None:
        types = frozenset(type_of(value) for value in flat.enum)
    else:
        types = flat.implied_types() or TYPES
    return types - {"integer"} | {"number"} if "integer" in types else types


def _apart_as(kind: str, a: Flat, b: Flat, document: "Document", depth: int, final: bool) -> bool:
    if kind == "object":
        return _apart_objects(a, b, document, depth, final)
    if kind == "number":
        return _beyond(a, b) or _beyond(b, a)
    if kind == "string":
        return _longer(a.min_length, b.max_length) or _longer(b.min_length, a.max_length)
    if kind == "array":
        return _longer(a.min_items, b.max_items) or _longer(b.min_items, a.max_items)
    return False


def _longer(low: int, high: int | None) -> bool:
    return high is not None and low > high


def _beyond(a: Flat, b: Flat) -> bool:
    """Whether everything in `a` is above everything in `b`."""
    if a.low is None or b.high is None:
        return False
    return a.low[0] > b.high[0] or (a.low[0] == b.high[0] and (a.low[1] or b.high[1]))


def _apart_objects(a: Flat, b: Flat, document: "Document", depth: int, final: bool) -> bool:
    if a.enum is not None or b.enum is not None:
        return False
    if _never_writes(a, b, final) and _never_writes(b, a, final):
        return True
    if depth >= _MAX_DEPTH:
        return False
    for name in a.properties:
        if name in b.properties and name in a.required and name in b.required:
            left = document.expand(a.properties[name], "")
            right = document.expand(b.properties[name], "")
            if all(_apart(x, y, document, depth + 1, final=False) for x in left for y in right):
                return True
    return False


def _never_writes(a: Flat, b: Flat, final: bool) -> bool:
    """Whether `b` requires a property that objects of `a` do not have as we write them."""
    closed = a.additional is False or (final and a.additional is None and bool(a.properties))
    return closed and any(name not in a.properties and name not in a.required for name in b.required)
