"""An event stream taken apart without forgiving anything and without giving up: every line is kept as it came.

Owns lines, events and their JSON. Judges nothing. Invariant: what a lenient client would read as an event is an event
here, so that one fault of framing does not hide the next one.
"""

import itertools
import re
from dataclasses import dataclass, field
from typing import Any

import msgspec

BOM = b"\xef\xbb\xbf"
_LINE = re.compile(rb"([^\r\n]*)(\r\n|\n|\r|\Z)")


@dataclass(slots=True)
class Line:
    """One line: its bytes without the ending, the ending, and where it starts in the body."""

    raw: bytes
    ending: bytes
    offset: int

    @property
    def name(self) -> bytes:
        """The field's name; empty for a comment."""
        return self.raw.partition(b":")[0]

    @property
    def value(self) -> bytes:
        rest = self.raw.partition(b":")[2]
        return rest.removeprefix(b" ")


@dataclass(slots=True)
class Event:
    """The lines between two blank lines. `json` is the decoded data, None where there is none or it is broken."""

    lines: list[Line]
    end: int  # offset behind the blank line
    separated: bool = True  # ended by a blank line
    json: Any = None
    broken: str | None = None
    data: bytes | None = None

    @property
    def raw(self) -> bytes:
        return b"".join(line.raw + line.ending for line in self.lines)

    @property
    def done(self) -> bool:
        return self.data is not None and self.data.strip() == b"[DONE]"

    @property
    def comment(self) -> bool:
        """Whether it has nothing but comments."""
        return all(line.raw.startswith(b":") for line in self.lines)

    @property
    def error(self) -> bool:
        """Whether it tells of an error, in any of the forms that servers use."""
        if any(line.name == b"error" for line in self.lines):
            return True
        if any(line.name == b"event" and line.value == b"error" for line in self.lines):
            return True
        value = self.json[0] if isinstance(self.json, list) and self.json else self.json
        if not isinstance(value, dict):
            return False
        return bool(value.get("error")) or value.get("object") == "error"


@dataclass(slots=True)
class Stream:
    """A parsed body."""

    events: list[Event] = field(default_factory=list)
    bom: bool = False
    undecodable: bytes | None = None

    @property
    def chunks(self) -> list[dict[str, Any]]:
        """The JSON objects of the events up to [DONE] that are no errors, in order."""
        spoken = itertools.takewhile(lambda event: not event.done, self.events)
        return [event.json for event in spoken if isinstance(event.json, dict) and not event.error]

    @property
    def failure(self) -> Event | None:
        """The first event that tells of an error."""
        return next((event for event in self.events if event.error), None)


def parse(body: bytes) -> Stream:
    """Take a body apart."""
    stream = Stream(bom=body.startswith(BOM))
    start = len(BOM) if stream.bom else 0
    lines: list[Line] = []
    for match in _LINE.finditer(body, start):
        raw, ending = match.group(1), match.group(2)
        if raw:
            lines.append(Line(raw, ending, match.start()))
        elif ending and lines:
            stream.events += _events(lines, match.end(), True)
            lines = []
    if lines:
        stream.events += _events(lines, len(body), False)
    for event in stream.events:
        _decode(event, stream)
    return stream


def _events(lines: list[Line], end: int, separated: bool) -> list[Event]:
    """One event, or several where blank lines are missing between lines that are JSON each by themselves."""
    data = [line for line in lines if line.name == b"data"]
    if len(data) > 1 and all(_is_json(line.value) for line in data):
        apart = [Event([line], line.offset + len(line.raw) + len(line.ending), False) for line in data]
        apart[-1].end = end
        return apart
    return [Event(lines, end, separated)]


def _is_json(value: bytes) -> bool:
    try:
        msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return value.strip() == b"[DONE]"
    return True


def _decode(event: Event, stream: Stream) -> None:
    values = [line.value for line in event.lines if line.name == b"data"]
    if not values:
        return
    event.data = b"\n".join(values)
    if event.done or not event.data.strip():
        return
    try:
        event.data.decode()
    except UnicodeDecodeError:
        stream.undecodable = stream.undecodable or event.raw
        return
    try:
        event.json = msgspec.json.decode(event.data)
    except msgspec.DecodeError as error:
        event.broken = str(error)
