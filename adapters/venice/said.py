"""What Venice says in headers: which of it a caller is told, in the words of the caller's dialect. Pure.

Flags about a picture are told to everybody. News about a model go to Venice's clients as they came, and to OpenAI's as the
standard headers for them. Rates and balances are our account's, which all callers share: nobody is told them, but a
refusal's waiting time is read out of them.
"""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final, Protocol

from proxy.call import Dialect

Headers = list[tuple[str, str]]

FLAGS: Final = (
    "x-venice-is-blurred",
    "x-venice-is-content-violation",
    "x-venice-is-adult-model-content-violation",
    "x-venice-contains-minor",
)
WARNING: Final = "x-venice-model-deprecation-warning"
DATE: Final = "x-venice-model-deprecation-date"
NEWS: Final = (WARNING, DATE, "x-venice-deprecated", "x-venice-replacement")


class Named(Protocol):
    """Headers by name, whatever their case."""

    def get(self, name: str, /) -> str | None: ...


def passed_on(headers: "Named | Mapping[str, str]", dialect: Dialect) -> Headers:
    """The headers of an answer → those for its caller."""
    out = _present(headers, FLAGS)
    if dialect is Dialect.VENICE:
        return out + _present(headers, NEWS)
    if (when := _moment(headers.get(DATE))) is not None:
        out.append(("sunset", format_datetime(when.astimezone(UTC), usegmt=True)))
    if warning := headers.get(WARNING):
        out.append(("warning", '299 - "' + warning.replace("\\", "").replace('"', "'") + '"'))
    return out


def merged(several: "list[Headers]") -> Headers:
    """The headers of several answers to one call: a flag is raised if one of them raises it."""
    found: dict[str, str] = {}
    for headers in several:
        for name, value in headers:
            if found.get(name) != "true":
                found[name] = value
    return list(found.items())


def wait_s(headers: "Named | Mapping[str, str]", *, now: float | None = None) -> float | None:
    """How long a limited request must wait: requests are reset at a Unix time, tokens in seconds. None: nobody says."""
    waits = []
    if headers.get("x-ratelimit-remaining-requests") == "0" and (at := _number(headers, "requests")) is not None:
        waits.append(max(0.0, at - (time.time() if now is None else now)))
    if headers.get("x-ratelimit-remaining-tokens") == "0" and (seconds := _number(headers, "tokens")) is not None:
        waits.append(seconds)
    return max(waits, default=None)


def _number(headers: "Named | Mapping[str, str]", of: str) -> float | None:
    try:
        return float(headers.get(f"x-ratelimit-reset-{of}") or "")
    except ValueError:
        return None


def _present(headers: "Named | Mapping[str, str]", names: tuple[str, ...]) -> Headers:
    return [(name, value) for name in names if (value := headers.get(name))]


def _moment(text: str | None) -> datetime | None:
    try:
        when = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)
