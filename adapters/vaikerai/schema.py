"""What a model takes and gives, read out of the OpenAPI document that each version carries. Pure.

It owns references, enums and bounds; it refuses to know what an input is for. Invariant: a value that passes `fitted` is
one that the model's own validator takes, and an error names the caller's parameter, not the model's input.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from proxy.errors import BadRequest

Schema = Mapping[str, Mapping[str, Any]]
_DEPTH = 8
_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "array": list,
    "object": dict,
}


class Model(NamedTuple):
    """`inputs`: name → rule, references resolved. `needs`: inputs that must be given. `known` false: nobody could say."""

    inputs: Schema
    needs: frozenset[str] = frozenset()
    known: bool = True


UNKNOWN = Model({"prompt": {"type": "string"}}, known=False)  # a bare hash has no model to ask


def model_of(described: Mapping[str, Any]) -> Model | None:
    """A version as the API shows it → what it takes; None if it does not say."""
    schemas: Any = described
    for key in ("openapi_schema", "components", "schemas"):
        schemas = schemas.get(key) if isinstance(schemas, dict) else None
    given = schemas.get("Input") if isinstance(schemas, dict) else None
    properties = given.get("properties") if isinstance(given, dict) else None
    if not isinstance(given, dict) or not isinstance(properties, dict):
        return None
    needs = given.get("required")
    inputs = {str(name): _resolved(rule, schemas, _DEPTH) for name, rule in properties.items()}
    return Model(inputs, frozenset(map(str, needs)) if isinstance(needs, list) else frozenset())


def _resolved(rule: Any, schemas: Mapping[str, Any], depth: int) -> Mapping[str, Any]:
    """A rule with `$ref`, `allOf` and the first `anyOf` that is not null folded in; enums live behind those."""
    if not isinstance(rule, dict) or depth == 0:
        return {}
    out = dict(rule)
    parts = [out.pop("$ref", None), *_listed(out.pop("allOf", None))]
    parts += [part for part in _listed(out.pop("anyOf", None)) if part != {"type": "null"}][:1]
    for part in parts:
        if isinstance(part, str):
            part = schemas.get(part.rpartition("/")[2])
        for key, value in _resolved(part, schemas, depth - 1).items():
            out.setdefault(key, value)
    if "items" in out:
        out["items"] = _resolved(out["items"], schemas, depth - 1)
    return out


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def first(schema: Schema, names: Iterable[str]) -> str | None:
    """The first of these inputs that the model has."""
    return next((name for name in names if name in schema), None)


def takes_list(rule: Mapping[str, Any]) -> bool:
    return rule.get("type") == "array"


def fitted(value: Any, rule: Mapping[str, Any], *, param: str, model: str) -> Any:
    """The value as this input takes it. Raises BadRequest naming the caller's `param`."""
    kind = rule.get("type")
    if kind == "integer" and isinstance(value, float) and value.is_integer():
        value = int(value)
    wanted = _TYPES.get(str(kind))
    if wanted is not None and (not isinstance(value, wanted) or (isinstance(value, bool) and kind != "boolean")):
        raise BadRequest(f"{param} must be of type {kind} for model {model!r}.", param=param)
    choices = rule.get("enum")
    if isinstance(choices, list) and value not in choices:
        listed = ", ".join(str(choice) for choice in choices[:60])
        raise BadRequest(f"{param} must be one of {listed} for model {model!r}.", param=param)
    low, high = rule.get("minimum"), rule.get("maximum")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if (low is not None and value < low) or (high is not None and value > high):
            span = (
                f"at least {low}" if high is None else f"at most {high}" if low is None else f"between {low} and {high}"
            )
            raise BadRequest(f"{param} must be {span} for model {model!r}.", param=param)
        step = rule.get("multipleOf")
        if isinstance(step, int) and step > 0 and value % step:
            raise BadRequest(f"{param} must be a multiple of {step} for model {model!r}.", param=param)
    return value
