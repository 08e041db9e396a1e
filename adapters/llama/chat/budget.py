"""How much one rendering may cost, counted while it runs.

Owns the counters (steps, characters made, CPU time of this thread) and the walk that measures a value before it is
turned into text. Refuses to know templates. Invariant: no single step that it lets through makes more than `max_chars`
characters or touches more than `max_items` items, so that checking the clock between steps is enough.
"""

import time
from collections.abc import Iterable, Iterator

import msgspec
from jinja2 import Undefined

from adapters.llama.chat.errors import TemplateError


class Limits(msgspec.Struct, frozen=True):
    """Per rendering: characters of output, steps (iterations, calls, outputs), CPU seconds, items of one list."""

    max_chars: int = 8 << 20
    max_steps: int = 2_000_000
    cpu_s: float = 2.0
    max_items: int = 100_000


_CLOCK_EVERY = 16
_MADE_FACTOR = 8  # characters made on the way to one character of output; real templates stay under 3


MAX_DEPTH = 64


class Budget:
    """The running account of one rendering. Every method raises TemplateError when something is used up."""

    __slots__ = ("_deadline", "_depth", "_made", "_steps", "limits")

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._steps = 0
        self._made = 0
        self._depth = 0
        self._deadline = time.thread_time() + limits.cpu_s

    def step(self) -> None:
        """One iteration, call or output."""
        self._steps += 1
        if self._steps % _CLOCK_EVERY == 0:
            if self._steps > self.limits.max_steps:
                raise TemplateError(f"the chat template takes more than {self.limits.max_steps} steps")
            if time.thread_time() > self._deadline:
                raise TemplateError(f"the chat template takes more than {self.limits.cpu_s} s")

    def enter(self) -> None:
        """A call inside a call. Bounded here, because the interpreter's own bound can be raised by anybody in the process,
        and beyond it the C stack ends, and the process with it."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise TemplateError(f"the chat template nests more than {MAX_DEPTH} calls")

    def leave(self) -> None:
        self._depth -= 1

    def made(self, chars: int) -> None:
        """A text of `chars` characters has been, or is about to be, made."""
        if chars > self.limits.max_chars:
            raise TemplateError(f"the chat template makes a text of more than {self.limits.max_chars} characters")
        self._made += chars
        if self._made > self.limits.max_chars * _MADE_FACTOR:
            raise TemplateError("the chat template makes too much text")

    def items(self, count: int) -> None:
        """A list of `count` items is about to be made."""
        if count > self.limits.max_items:
            raise TemplateError(f"the chat template makes a list of more than {self.limits.max_items} items")

    def listed(self, values: Iterable[object]) -> list[object]:
        """`list(values)`, counted."""
        out = []
        for value in self.ticked(values):
            out.append(value)
            self.items(len(out))
        return out

    def ticked(self, values: Iterable[object]) -> Iterator[object]:
        """The same values, one step each."""
        for value in values:
            self.step()
            yield value

    def measure(self, value: object, text: bool = True) -> int:
        """Characters of `value` as text, roughly; it is walked as a tree, so shared parts count as often as they occur.

        Raises TemplateError for too large values, and if `text` for objects that are no data (a namespace, a macro):
        their text is unbounded, while comparing them is not.
        """
        chars = nodes = 0
        stack = [value]
        while stack:
            item = stack.pop()
            nodes += 1
            if isinstance(item, str):
                chars += len(item)
            elif isinstance(item, dict):
                stack.extend(item)
                stack.extend(item.values())
            elif isinstance(item, (list, tuple)):
                stack.extend(item)
            elif isinstance(item, int | float | Undefined) or item is None:
                chars += 8
            elif text:
                raise TemplateError(f"the chat template turns a {type(item).__name__} into text")
            if nodes + len(stack) > 4 * self.limits.max_items or chars > self.limits.max_chars:
                raise TemplateError("the chat template turns too large a value into text")
        return chars + nodes
