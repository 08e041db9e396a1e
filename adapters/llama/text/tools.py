"""Splits tool calls from the answer.

Owns the machine around the markers of one family: where a call may begin, what stands between calls, and giving text
back when it was no call after all. Refuses to know schemas: arguments pass as raw text. Invariant: every character of
the output ends up in exactly one place: answer text, a name, arguments, or markup that is dropped.
"""

import re
import secrets

from adapters.llama.text.callscan import CallScan
from adapters.llama.text.events import Event, Text, ToolArgs, ToolStart
from adapters.llama.text.families import Family
from adapters.llama.text.jsonvalue import JsonValue
from adapters.llama.text.markers import MarkerScan

_LEAD, _TEXT, _OPENED, _JSON, _NAME, _ARGS, _BETWEEN, _OVER = range(8)
_BLANK = " \t\r\n"
_HEADER = re.compile(r"\s*([\w.\-]+)\s*(?:\[CALL_ID\]\s*\w+\s*)?(?:\[ARGS\])?\s*")
_NO_HEADER = re.compile(r"[^\w.\-\[\]\s]|\n\s*\S")
_MAX_HEADER = 256


class ToolSplit:
    """`feed` text, get events. `complete` becomes true when one call is there and no second is wanted."""

    def __init__(self, family: Family, names: frozenset[str], parallel: bool = True) -> None:
        self._family = family
        self._names = names
        self._parallel = parallel
        self._state = _LEAD if family.bare else _TEXT
        self._scan = MarkerScan((family.open,))
        self._calls = CallScan(self)
        self._value = JsonValue("{")
        self._out: list[Event] = []
        self._held = ""  # text that the state has not decided about
        self._raw = ""  # what is given back if the call turns out to be none
        self._closed = False
        self.calls = 0
        self.complete = False
        self._steps = {
            _LEAD: self._lead,
            _TEXT: self._text,
            _OPENED: self._opened,
            _JSON: self._json,
            _NAME: self._name,
            _ARGS: self._args,
            _BETWEEN: self._between,
        }

    @property
    def idle(self) -> bool:
        """Only plain text can come from here on and nothing is held."""
        return self._state == _TEXT and not self._family.open and not self._held

    def feed(self, text: str) -> list[Event]:
        """Events that are certain after `text`."""
        while text and self._state != _OVER:
            text = self._steps[self._state](text)
        return self._take()

    def finish(self) -> list[Event]:
        """The end of the output: what was held is given out, an unfinished call stays unfinished."""
        state, held, self._held = self._state, self._held, ""
        self._state = _OVER
        if state == _TEXT:
            self._say(held + self._scan.flush())
        elif state in (_LEAD, _OPENED, _NAME):
            self._say(self._raw + held)
        elif state == _JSON:
            if self._calls.begun:
                self._calls.finish()
            else:
                self._say(self._raw)
        elif state == _BETWEEN:
            rest = held.lstrip(self._strip())
            if not (rest and self._family.close.startswith(rest)):
                self._say(rest)
        return self._take()

    # -- the sink of CallScan -----------------------------------------------------------------------------------------

    def begin(self, name: str) -> int:
        """A call whose name is known."""
        index = self.calls
        if not self.complete:
            self.calls += 1
            self._out.append(ToolStart(index, f"call_{secrets.token_hex(12)}", name))
        return index

    def arguments(self, index: int, text: str) -> None:
        """Raw argument text of call `index`."""
        if self.complete:
            return
        last = self._out[-1] if self._out else None
        if isinstance(last, ToolArgs) and last.index == index:
            self._out[-1] = ToolArgs(index, last.text + text)
        else:
            self._out.append(ToolArgs(index, text))

    def end(self, _index: int) -> None:
        """A call is complete."""
        if not self._parallel:
            self.complete = True

    # -- states -------------------------------------------------------------------------------------------------------

    def _lead(self, text: str) -> str:
        """The first characters of the answer of a family whose calls may be bare JSON."""
        held = self._held + text
        bare = held.lstrip()
        if not bare:
            self._held = held
            return ""
        self._held = ""
        if bare[0] not in "{[":
            self._state = _TEXT
            return held
        return self._begin_json(held[: len(held) - len(bare)], bare, self._names)

    def _text(self, text: str) -> str:
        safe, marker, rest = self._scan.feed(text)
        safe = self._held + safe
        bare = safe.rstrip()
        self._say(bare)
        self._held = safe[len(bare) :]
        if marker is None:
            if not self._family.open:
                self._say(self._held)
                self._held = ""
            return ""
        self._raw = self._held + marker
        self._held = ""
        self._state = _OPENED
        return rest

    def _opened(self, text: str) -> str:
        """Behind an opening marker."""
        held = self._held + text
        bare = held.lstrip()
        if not bare:
            self._held = held
            return ""
        self._held = ""
        if bare[0] in "{[":
            return self._begin_json(self._raw + held[: len(held) - len(bare)], bare, None)
        if self._family.named_args:
            self._state = _NAME
            return held
        return self._give_back(held)

    def _begin_json(self, raw: str, text: str, names: frozenset[str] | None) -> str:
        self._raw = raw
        self._calls = CallScan(self, names)
        self._state = _JSON
        return text

    def _json(self, text: str) -> str:
        calls = self._calls
        used = calls.feed(text)
        if not calls.begun:
            self._raw += text[:used]
        if calls.broken or (calls.done and not calls.begun):
            return self._give_back(text[used:])
        if calls.done or self.complete:
            return self._call_over(text[used:])
        return ""

    def _name(self, text: str) -> str:
        """`name[ARGS]{` behind the marker."""
        held = self._held + text
        brace = held.find("{")
        header = held if brace < 0 else held[:brace]
        wrong = _NO_HEADER.search(header)
        if wrong is not None or len(header) > _MAX_HEADER:
            self._held = ""
            return self._give_back(held)
        if brace < 0:
            self._held = held
            return ""
        self._held = ""
        match = _HEADER.fullmatch(header)
        if match is None:
            return self._give_back(held)
        self.begin(match.group(1))
        self._value = JsonValue("{")
        self._state = _ARGS
        return held[brace:]

    def _args(self, text: str) -> str:
        used = self._value.feed(text, 0)
        self.arguments(self.calls - 1, text[:used])
        if not self._value.done:
            return ""
        self.end(self.calls - 1)
        return self._call_over(text[used:])

    def _between(self, text: str) -> str:
        """Behind a call: its closing marker, another call, or text."""
        family = self._family
        held = self._held + text
        rest = held.lstrip(self._strip())
        self._held = ""
        if family.close and not self._closed and rest.startswith(family.close):
            self._closed = True
            return rest[len(family.close) :]
        if family.open and rest.startswith(family.open):
            self._raw = family.open
            self._state = _OPENED
            return rest[len(family.open) :]
        markers = (family.open, "" if self._closed else family.close)
        if not rest or any(marker.startswith(rest) for marker in markers if marker):
            self._held = held
            return ""
        if family.bare and rest[0] == "{":
            return self._begin_json("", rest, self._names)
        self._state = _TEXT
        return rest

    # -- small steps --------------------------------------------------------------------------------------------------

    def _strip(self) -> str:
        return _BLANK if self._closed else self._family.between

    def _call_over(self, rest: str) -> str:
        self._closed = False
        self._state = _OVER if self.complete else _BETWEEN
        return rest

    def _give_back(self, rest: str) -> str:
        """It was no call: what the marker and its beginning looked like is text."""
        self._say(self._raw)
        self._raw = ""
        self._state = _TEXT
        return rest

    def _say(self, text: str) -> None:
        if not text:
            return
        last = self._out[-1] if self._out else None
        if isinstance(last, Text):
            self._out[-1] = Text(last.text + text)
        else:
            self._out.append(Text(text))

    def _take(self) -> list[Event]:
        out, self._out = self._out, []
        return out
