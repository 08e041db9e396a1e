"""Venice's own schemas (`venice_schemas.json`: types and bounds of version 20250709.013306) and the errors they lead to.

It owns validation of requests and of the double's answers, and the shape of `details`: a tree of `_errors` that mirrors the
body. It also reads multipart forms, whose fields are all text.
"""

import email.parser
import email.policy
import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
from jsonschema.protocols import Validator

_DOCUMENT: dict[str, Any] = json.loads((Path(__file__).parent / "venice_schemas.json").read_text())
OPERATIONS: dict[str, dict[str, Any]] = _DOCUMENT["operations"]
DEFS: dict[str, Any] = _DOCUMENT["$defs"]


@cache
def _validator(pointer: str) -> Validator:
    schema: Any = OPERATIONS
    for step in pointer.split("|"):
        schema = schema[step]
    made: Validator = jsonschema.Draft202012Validator({"$defs": DEFS, "allOf": [schema]})
    return made


def faults_of_answer(operation: str, body: Any) -> list[str]:
    """What is wrong with a JSON answer, by the published schema."""
    check = _validator(f"{operation}|answers|application/json")
    return [f"{'/'.join(map(str, e.absolute_path))}: {e.message}" for e in check.iter_errors(body)]


def details_of(operation: str, body: Any, content_type: str = "application/json") -> dict[str, Any] | None:
    """The `details` tree of a bad request, or None when the body is good."""
    tree: dict[str, Any] = {}
    for error in _validator(f"{operation}|body|{content_type}").iter_errors(body):
        _plant(tree, list(error.absolute_path), error)
    return _complete(tree) if tree else None


def query_details(operation: str, query: dict[str, Any]) -> dict[str, Any] | None:
    """The same for query parameters; numbers come as text. Unknown parameters are ignored, as by the service."""
    tree: dict[str, Any] = {}
    for name, schema in OPERATIONS[operation].get("query", {}).items():
        if name not in query:
            continue
        value: Any = query[name]
        if schema.get("type") in ("integer", "number") and value.lstrip("-").isdigit():
            value = int(value)
        for error in jsonschema.Draft202012Validator({"$defs": DEFS, "allOf": [schema]}).iter_errors(value):
            _plant(tree, [name], error)
    return _complete(tree) if tree else None


def _plant(tree: dict[str, Any], path: list[Any], error: Any) -> None:
    rule, value = error.validator, error.validator_value
    if rule == "additionalProperties":
        known = error.schema.get("properties", {})
        names = ", ".join(f"'{name}'" for name in error.instance if name not in known)
        text = f"Unrecognized key(s) in object: {names}"
    elif rule == "required":
        missing = next(name for name in value if f"'{name}'" in error.message)
        path, text = [*path, missing], "Required"
    else:
        text = _words(rule, value, error.instance)
    node = tree
    for step in path:
        node = node.setdefault(str(step), {})
    node.setdefault("_errors", []).append(text)


def _words(rule: str, value: Any, given: Any) -> str:
    size = "characters" if isinstance(given, str) else "element(s)"
    texts = {
        "maximum": f"Number must be less than or equal to {value}",
        "minimum": f"Number must be greater than or equal to {value}",
        "exclusiveMinimum": f"Number must be greater than {value}",
        "maxLength": f"String must contain at most {value} {size}",
        "minLength": f"String must contain at least {value} {size}",
        "maxItems": f"Array must contain at most {value} {size}",
        "minItems": f"Array must contain at least {value} {size}",
        "type": f"Expected {value}, received {_kind(given)}",
        "enum": f"Invalid enum value. Expected {' | '.join(repr(v) for v in value)}, received {given!r}"
        if rule == "enum"
        else "",
    }
    return texts.get(rule, "Invalid input")


def _kind(value: Any) -> str:
    names = {bool: "boolean", int: "number", float: "number", str: "string", list: "array", dict: "object"}
    return "null" if value is None else names[type(value)]


def _complete(tree: dict[str, Any]) -> dict[str, Any]:
    """Each node has `_errors`, also where only its children are wrong."""
    children = {k: _complete(v) for k, v in tree.items() if k != "_errors"}
    return {"_errors": tree.get("_errors", [])} | children


def form_of(content_type: str, body: bytes) -> dict[str, Any] | None:
    """The fields of a multipart form: files as bytes, everything else as text; None when it is no form."""
    raw = b"content-type: " + content_type.encode("latin-1") + b"\r\n\r\n" + body
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(raw)
    if not message.is_multipart():
        return None
    out: dict[str, Any] = {}
    for part in message.iter_parts():  # type: ignore[attr-defined]
        name = part.get_param("name", header="content-disposition")
        if not isinstance(name, str):
            return None
        data = part.get_payload(decode=True)
        out[name] = data if part.get_filename() else data.decode()
    return out


def coerced(fields: dict[str, Any], operation: str) -> dict[str, Any]:
    """Numbers and booleans of a form made what the schema asks for; what cannot be stays text and is refused later."""
    schema = OPERATIONS[operation]["body"]["multipart/form-data"]
    known = DEFS[schema["$ref"].rpartition("/")[2]]["properties"]
    out = dict(fields)
    for name, value in fields.items():
        kind = known.get(name, {}).get("type", "")
        if isinstance(value, str) and "number" in (kind if isinstance(kind, list) else [kind]):
            try:
                out[name] = float(value)
            except ValueError:
                continue
    return out
