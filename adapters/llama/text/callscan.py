"""Reads tool calls out of JSON while it is being generated.

Owns the walk over keys and wrappers (`function`, `tool_call`, `tool_calls`, a list of calls) and the order problem:
arguments that come before the name are buffered, arguments after it are passed on as raw text. Refuses to know markers
and events: it tells a sink. Invariant: nothing is told before it is certain, and nothing told is taken back.
"""

import json
from typing import Protocol

from adapters.llama.text.jsonvalue import JsonValue

_WRAPPERS = frozenset(("function", "tool_call", "tool_calls"))
_ARGUMENTS = frozenset(("arguments", "parameters"))
_STRICT_KEYS = _WRAPPERS | _ARGUMENTS | {"name", "type", "id"}
_BLANK = " \t\r\n"

_ELEMENT, _KEY, _KEY_TEXT, _COLON, _VALUE, _IN_VALUE, _NEXT, _DONE, _BROKEN = range(9)


class CallSink(Protocol):
    """Who is told: `begin` answers the index of the new call."""

    def begin(self, name: str) -> int: ...

    def arguments(self, index: int, text: str) -> None: ...

    def end(self, index: int) -> None: ...


class _Slots:
    """One open object: what is known of the call that it may be."""

    __slots__ = ("arguments", "index", "name", "seen", "told", "wrapper")

    def __init__(self) -> None:
        self.name = ""
        self.index = -1
        self.arguments = ""  # held until the call has begun
        self.seen = False  # an arguments key was there
        self.told = False  # some argument text was passed on
        self.wrapper = False


class CallScan:
    """One JSON value that holds calls. `names`: refuse other names and unknown keys (an answer that may be no call)."""

    __slots__ = ("_buffer", "_key", "_names", "_role", "_sink", "_stack", "_state", "_value", "begun")

    def __init__(self, sink: CallSink, names: frozenset[str] | None = None) -> None:
        self._sink = sink
        self._names = names
        self._state = _ELEMENT
        self._stack: list[_Slots | None] = []  # None stands for a list
        self._key = ""
        self._buffer = ""
        self._role = ""
        self._value = JsonValue("{")
        self.begun = 0  # calls told so far

    @property
    def done(self) -> bool:
        """The value is complete."""
        return self._state == _DONE

    @property
    def broken(self) -> bool:
        """It is not JSON that holds calls."""
        return self._state == _BROKEN

    def feed(self, text: str) -> int:
        """How many characters of `text` belong to the value; fewer than all only when done or broken."""
        at, size = 0, len(text)
        while at < size and self._state < _DONE:
            if self._state == _IN_VALUE:
                at = self._in_value(text, at)
            elif self._state == _KEY_TEXT:
                at = self._key_text(text, at)
            elif text[at] in _BLANK or self._structure(text[at]):
                at += 1
        return at

    def finish(self) -> None:
        """The output ended inside: string arguments that were being collected are passed on as far as they go."""
        slots = self._stack[-1] if self._stack else None
        if self._state == _IN_VALUE and self._role == "arguments" and slots is not None and slots.index >= 0:
            self._tell(slots, _decoded(self._buffer + '"') if self._value.kind == "string" else self._buffer)

    # -- structure ----------------------------------------------------------------------------------------------------

    def _structure(self, char: str) -> bool:
        """One character outside keys and values; True when it is consumed."""
        state = self._state
        if state == _ELEMENT:
            return self._element(char)
        if state == _KEY:
            if char == '"':
                self._buffer, self._value, self._state = "", JsonValue('"'), _KEY_TEXT
                return False
            return self._close_object() if char == "}" else self._fail()
        if state == _COLON:
            if char == ":":
                self._state = _VALUE
                return True
            return self._fail()
        if state == _VALUE:
            return self._begin_value(char)
        if char == ",":
            self._state = _KEY if self._stack[-1] is not None else _ELEMENT
            return True
        if char == "}" and self._stack[-1] is not None:
            return self._close_object()
        if char == "]" and self._stack[-1] is None:
            return self._pop()
        return self._fail()

    def _element(self, char: str) -> bool:
        """Expecting an object, or at the top a list of them."""
        if char == "{":
            self._stack.append(_Slots())
            self._state = _KEY
            return True
        if char == "[" and not self._stack:
            self._stack.append(None)
            return True
        if char == "]" and self._stack and self._stack[-1] is None:
            return self._pop()
        return self._fail()

    def _pop(self) -> bool:
        self._stack.pop()
        self._state = _NEXT if self._stack else _DONE
        return True

    def _close_object(self) -> bool:
        slots = self._stack[-1]
        if slots is None:
            return self._fail()
        if slots.name:
            self._begin(slots)
            if not slots.told:
                self._tell(slots, "{}")
            self._sink.end(slots.index)
        elif not slots.wrapper:
            return self._fail()
        return self._pop()

    def _fail(self) -> bool:
        """Not what was expected. After a call was told the rest is not ours; before, it never was a call."""
        self._state = _DONE if self.begun else _BROKEN
        if self.begun:
            for slots in self._stack:
                if slots is not None and slots.index >= 0:
                    self._sink.end(slots.index)
        return False

    # -- keys and values ----------------------------------------------------------------------------------------------

    def _key_text(self, text: str, at: int) -> int:
        end = self._value.feed(text, at)
        self._buffer += text[at:end]
        if self._value.done:
            self._key = _decoded(self._buffer)
            self._state = _COLON
            if self._names is not None and self._key not in _STRICT_KEYS:
                self._fail()
        return end

    def _begin_value(self, char: str) -> bool:
        slots = self._stack[-1]
        if slots is None:
            return self._fail()
        key = self._key
        if key in _WRAPPERS and char in "{[":
            slots.wrapper = True
            if char == "[":
                self._stack.append(None)
                self._state = _ELEMENT
                return True
            self._state = _ELEMENT
            return False
        self._role = ""
        if key in ("name", "function") and char == '"' and not slots.name:
            self._role = "name"
        elif key in _ARGUMENTS and not slots.seen:
            self._role = "arguments"
            slots.seen = True
            if slots.name:
                self._begin(slots)
        self._buffer, self._value, self._state = "", JsonValue(char), _IN_VALUE
        return False

    def _in_value(self, text: str, at: int) -> int:
        end = self._value.feed(text, at)
        if self._role:
            self._collect(text[at:end])
        if self._value.done:
            self._state = _NEXT
        return end

    def _collect(self, part: str) -> None:
        """A piece of the name or of the arguments."""
        slots = self._stack[-1]
        if slots is None:
            return
        if self._role == "arguments" and self._value.kind == "container":
            self._tell(slots, part)
            return
        self._buffer += part
        if not self._value.done:
            return
        if self._role == "arguments":
            whole = self._buffer
            self._tell(slots, _decoded(whole) if self._value.kind == "string" else "" if whole == "null" else whole)
            return
        name = _decoded(self._buffer)
        if not name or (self._names is not None and name not in self._names):
            self._fail()
            self._value.done = False  # stay failed
            return
        slots.name = name
        if self._names is None or slots.seen:
            self._begin(slots)

    def _begin(self, slots: _Slots) -> None:
        if slots.index < 0:
            slots.index = self._sink.begin(slots.name)
            self.begun += 1
            if slots.arguments:
                self._tell(slots, slots.arguments)

    def _tell(self, slots: _Slots, text: str) -> None:
        if not text:
            return
        if slots.index < 0:
            slots.arguments += text
            return
        slots.told = True
        self._sink.arguments(slots.index, text)


def _decoded(literal: str) -> str:
    """The string that a JSON literal stands for; its bare inside when a model wrote it wrongly."""
    try:
        value = json.loads(literal, strict=False)
    except ValueError:
        return literal.strip('"')
    return value if isinstance(value, str) else literal
