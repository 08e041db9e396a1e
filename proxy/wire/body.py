"""A request body, decoded twice and copied never: its top-level keys with raw values, and a typed, validated head.

A null at the top level counts as absent. Unknown keys stay in `fields`, so that they can be forwarded or refused by name.
The messages of msgspec become ours here: the field that is wrong, and what was expected.
"""

import re
from typing import Any, TypeVar

import msgspec

from proxy.errors import BadRequest

T = TypeVar("T")

LARGE = 64 << 10  # bytes: a body with a picture in it is not looked through once more

_fields_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_decoders: dict[type, msgspec.json.Decoder[Any]] = {}
encode = msgspec.json.Encoder().encode

# What OpenAI clients send as a matter of habit and what changes no answer: accepted everywhere, forwarded where taken.
NO_OPS = frozenset(
    {"user", "store", "metadata", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"}
)


def fields_of(raw: bytes) -> dict[str, msgspec.Raw]:
    """The top-level keys of a JSON object, values still raw; nulls left out.

    Raises:
        BadRequest: not JSON, or not an object.
    """
    try:
        fields = _fields_decoder.decode(raw)
    except msgspec.ValidationError:
        raise BadRequest("The request body must be a JSON object.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"The request body is not valid JSON: {error}") from None
    except RecursionError:
        raise BadRequest("The request body is nested too deeply.") from None
    if len(raw) > LARGE or b"null" in raw:
        fields = {
            key: value for key, value in fields.items() if memoryview(value).nbytes != 4 or bytes(value) != b"null"
        }
    return fields


def head_of(raw: bytes, type_: type[T]) -> T:
    """The typed head of a body. Raises BadRequest naming the field."""
    decoder = _decoders.get(type_)
    if decoder is None:
        decoder = _decoders[type_] = msgspec.json.Decoder(type_)
    try:
        head: T = decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise explained(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"The request body is not valid JSON: {error}") from None
    except RecursionError:
        raise BadRequest("The request body is nested too deeply.") from None
    return head


def converted(value: Any, type_: type[T], at: str = "") -> T:
    """`head_of` for a value that is decoded already; `at` is the path in front of the field's."""
    try:
        return msgspec.convert(value, type_)
    except msgspec.ValidationError as error:
        raise explained(str(error), at) from None


_AT = re.compile(r"^(?P<what>.*?)(?: - at (?:`key` in )?`\$(?P<path>.*)`)?$", re.DOTALL)


def explained(text: str, at: str = "") -> BadRequest:
    """msgspec's sentence → a BadRequest with `param`, and Venice's tree of `details`."""
    found = _AT.match(text)
    what, path = (found["what"], found["path"] or "") if found else (text, "")
    if what.startswith("Object missing required field"):
        key = what.split("`")[1]
        path, what = f"{path}.{key}", "Required"
    elif what.startswith("Object contains unknown field"):
        key = what.split("`")[1]
        return unknown_keys([f"{at}{path}.{key}".lstrip(".")])
    param = f"{at}{path}".lstrip(".") or None
    what = what.replace("`", "'")
    where = f"'{param}': " if param else ""
    return BadRequest(f"Invalid request: {where}{what}.", param=param, details=tree(param, what))


def unknown_keys(keys: list[str]) -> BadRequest:
    """Refuse by name, in the words Venice's clients know."""
    said = "Unrecognized key(s) in object: " + ", ".join(f"'{key}'" for key in keys)
    return BadRequest(said + ".", param=keys[0], code="unknown_parameter", details={"_errors": [said]})


def tree(param: str | None, said: str) -> dict[str, Any]:
    """Venice's nested `details`: `{"_errors": [], "temperature": {"_errors": ["…"]}}`."""
    root: dict[str, Any] = {"_errors": []}
    node = root
    for step in re.findall(r"[^.\[\]]+", param or ""):
        node[step] = {"_errors": []}
        node = node[step]
    node["_errors"].append(said)
    return root
