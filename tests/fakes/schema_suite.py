"""The suite of JSON schemas in `schemas/`: each file is one schema; `examples` are valid values with their properties in
the schema's order, `x-invalid` are values that are not valid. Both words are annotations to every validator."""

import ipaddress
import json
import re
import uuid
from datetime import datetime
from pathlib import Path
from typing import Any

import jsonschema

_FOLDER = Path(__file__).parent / "schemas"
_CHECKER = jsonschema.FormatChecker(formats=())


def load() -> dict[str, dict[str, Any]]:
    """All schemas by name."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(_FOLDER.glob("*.json"))}


def is_valid(schema: dict[str, Any], value: object) -> bool:
    """By the jsonschema package; formats are checked by what the standard library knows."""
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    return bool(kind(schema, format_checker=_CHECKER).is_valid(value))


def _format(name: str) -> Any:
    return _CHECKER.checks(name, raises=ValueError)


@_format("date")
def _date(value: object) -> bool:
    return not isinstance(value, str) or (len(value) == 10 and datetime.strptime(value, "%Y-%m-%d") is not None)


@_format("date-time")
def _date_time(value: object) -> bool:
    return not isinstance(value, str) or (value[10:11] == "T" and datetime.fromisoformat(value).tzinfo is not None)


@_format("time")
def _time(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(f"2000-01-01T{value}").tzinfo is not None


@_format("uuid")
def _uuid(value: object) -> bool:
    return not isinstance(value, str) or str(uuid.UUID(value)) == value.lower()


@_format("ipv4")
def _ipv4(value: object) -> bool:
    return not isinstance(value, str) or ipaddress.IPv4Address(value) is not None


@_format("ipv6")
def _ipv6(value: object) -> bool:
    return not isinstance(value, str) or ipaddress.IPv6Address(value) is not None


@_format("email")
def _email(value: object) -> bool:
    return not isinstance(value, str) or re.fullmatch(r"[^\s@.]+(\.[^\s@.]+)*@[\w-]+(\.[\w-]+)+", value) is not None


@_format("hostname")
def _hostname(value: object) -> bool:
    label = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
    return not isinstance(value, str) or re.fullmatch(rf"(?=.{{1,253}}$){label}(\.{label})*", value) is not None


@_format("uri")
def _uri(value: object) -> bool:
    return not isinstance(value, str) or re.fullmatch(r"[a-z][a-z0-9+.-]*:(//)?[^\s<>\"{}|\\^`]+", value) is not None


@_format("duration")
def _duration(value: object) -> bool:
    if not isinstance(value, str):
        return True
    date, time = r"(\d+Y(\d+M(\d+D)?)?|\d+M(\d+D)?|\d+D)", r"T(\d+H(\d+M(\d+S)?)?|\d+M(\d+S)?|\d+S)"
    return re.fullmatch(rf"P({date}({time})?|{time}|\d+W)", value) is not None
