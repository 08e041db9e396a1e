"""Where one JSON value ends, in text that arrives in pieces.

Owns nesting depth and string state. Refuses to validate: a model's faulty arguments are the client's to judge, as they
are with every other provider. Invariant: brackets inside strings never count.
"""

import re

_OUTSIDE = re.compile(r'["{}\[\]]')
_INSIDE = re.compile(r'["\\]')
_SCALAR_END = re.compile(r"[,}\]\s]")


class JsonValue:
    """Scans one value that begins at the first character fed (no leading white space)."""

    __slots__ = ("_depth", "_escaped", "_in_string", "done", "kind")

    def __init__(self, first: str) -> None:
        self.kind = "container" if first in "{[" else "string" if first == '"' else "scalar"
        self._depth = 0
        self._in_string = False
        self._escaped = False
        self.done = False

    def feed(self, text: str, at: int) -> int:
        """Index behind the last character of the value in this text; `done` says whether the value ended there."""
        if self.kind == "scalar":
            found = _SCALAR_END.search(text, at)
            self.done = found is not None
            return len(text) if found is None else found.start()
        size = len(text)
        while at < size:
            if self._escaped:
                self._escaped = False
                at += 1
                continue
            found = (_INSIDE if self._in_string else _OUTSIDE).search(text, at)
            if found is None:
                return size
            at = found.end()
            if self._step(found.group()):
                self.done = True
                return at
        return at

    def _step(self, char: str) -> bool:
        """One structural character; True when it ended the value."""
        if char == "\\":
            self._escaped = True
        elif char == '"':
            self._in_string = not self._in_string
            return self.kind == "string" and not self._in_string
        elif char in "{[":
            self._depth += 1
        else:
            self._depth -= 1
            return self._depth <= 0
        return False
