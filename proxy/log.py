"""Logging: structured lines under the brand's name, and the one redaction filter for whatever comes from outside.

Nothing secret is written: keys, bearer tokens, e-mail addresses, query strings of URLs and internal hosts are cut out.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

from proxy import NAME

_SECRETS: set[str] = set()
_PATTERNS = [
    (re.compile(r"(?i)\b(bearer|key|token|basic)\s+[A-Za-z0-9._~+/=-]{8,}"), r"\1 [redacted]"),
    (re.compile(r"\b(?:sk|pk|tgt|whsec|r8|hf)[-_][A-Za-z0-9_-]{6,}"), "[redacted]"),
    (
        re.compile(
            r"(?i)(\"?(?:api[_-]?key|auth[_-]?key|authorization|password|secret|token)\"?\s*[:=]\s*\"?)[^\s\",&}]+"
        ),
        r"\1[redacted]",
    ),
    (re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}"), "[address]"),
    (re.compile(r"(https?://[^\s?\"'<>]+)\?[^\s\"'<>]*"), r"\1?[…]"),
    (re.compile(r"(https?://)[^\s/@\"'<>]+:[^\s/@\"'<>]+@"), r"\1"),
]


def keep_secret(*values: str) -> None:
    """Remember literal secrets (upstream keys) so that `redact` finds them in any disguise-free place."""
    _SECRETS.update(value for value in values if len(value) >= 6)


def redact(text: str, limit: int = 500) -> str:
    """Text from outside, made fit to be shown or logged: secrets out, control characters out, cut at `limit`."""
    text = text[: limit * 4]
    for secret in _SECRETS:
        if secret in text:
            text = text.replace(secret, "[redacted]")
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    text = "".join(c if c.isprintable() else " " for c in text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


class _Settings:
    """What `setup` decided. structlog is imported with the first line that is written: it brings a sixth of a second of
    other imports, and a start writes none."""

    level = "info"
    json = False
    applied = False


def setup(level: str = "info", *, json: bool = False) -> None:
    """Once per process: one line an event on standard error, human or JSON."""
    _Settings.level, _Settings.json, _Settings.applied = level, json, False


def _apply() -> Any:
    import structlog

    if not _Settings.applied:
        _Settings.applied = True
        structlog.configure(
            processors=[
                structlog.contextvars.merge_contextvars,
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.format_exc_info,  # before the redaction: messages come from outside as well
                _redacted,
                *_renderers(structlog),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, _Settings.level.upper())),
            logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
            cache_logger_on_first_use=False,
        )
    return structlog


def _renderers(structlog: Any) -> list[Any]:
    # Plain tracebacks: the rich ones print local variables, and those hold secrets.
    if _Settings.json:
        return [structlog.processors.JSONRenderer()]
    return [
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
    ]


def _redacted(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    del logger, method
    for key, value in event.items():
        if key == "exception":
            event[key] = "\n".join(redact(line) for line in str(value).splitlines())
        elif isinstance(value, str) and key not in ("timestamp", "level"):
            event[key] = redact(value, 4000)
    return event


class Logger:
    """Says which room speaks. `event` is a short fixed text; what varies goes into keywords."""

    __slots__ = ("_room",)

    def __init__(self, room: str) -> None:
        self._room = room

    def debug(self, event: str, **values: Any) -> None:
        self._write("debug", event, values)

    def info(self, event: str, **values: Any) -> None:
        self._write("info", event, values)

    def warning(self, event: str, **values: Any) -> None:
        self._write("warning", event, values)

    def error(self, event: str, **values: Any) -> None:
        self._write("error", event, values)

    def _write(self, level: str, event: str, values: dict[str, Any]) -> None:
        if getattr(logging, level.upper()) >= getattr(logging, _Settings.level.upper()):
            getattr(_apply().get_logger(), level)(event, room=self._room, **values)


def get(room: str) -> Logger:
    """A logger for a room of the house."""
    return Logger(f"{NAME}.{room}")
