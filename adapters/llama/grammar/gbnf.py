"""Writes GBNF, the grammar notation of llama.cpp.

Owns quoting, character classes, grouping and counted repetition, and the limits on the result. Refuses to know JSON and
schemas. Invariants: nothing that can be empty is repeated without a bound (llama.cpp calls that left recursion), and a
repetition of n costs about log n rules (llama.cpp writes out `{m,n}`, and silently drops an upper bound above 2,000).
"""

import re
from collections.abc import Iterable, Sequence

import msgspec

from adapters.llama.grammar.errors import UnsupportedSchema

Expr = str
EMPTY: Expr = '""'
Range = tuple[int, int]

_ATOM = re.compile(r'[A-Za-z0-9-]+|\[[^\]]*\]|"(?:[^"\\]|\\.)+"|\([^()"\[]*\)')
_INLINE = 8  # repetitions up to this are left to llama.cpp


class Limits(msgspec.Struct, frozen=True):
    """Bounds of one grammar. `free_chars` and `free_items` cap strings and arrays that the schema leaves unbounded."""

    max_schema_chars: int = 64 * 1024
    max_depth: int = 32
    max_recursion: int = 32
    max_rules: int = 6_000
    max_chars: int = 256 * 1024
    max_alternatives: int = 512
    free_chars: int | None = None
    free_items: int | None = None


def literal(text: str) -> Expr:
    """Exactly `text`."""
    out = []
    for char in text:
        code = ord(char)
        if char in '"\\':
            out.append("\\" + char)
        elif code < 0x20 or code == 0x7F:
            out.append(f"\\x{code:02X}")
        else:
            out.append(char)
    return f'"{"".join(out)}"'


def char_class(ranges: Iterable[Range], negated: bool = False) -> Expr:
    """One character out of (or not out of) inclusive code point ranges."""
    parts = [_code(low) if low == high else f"{_code(low)}-{_code(high)}" for low, high in ranges]
    return f"[{'^' if negated else ''}{''.join(parts)}]"


def _code(code: int) -> str:
    if 0x30 <= code <= 0x39 or 0x41 <= code <= 0x5A or 0x61 <= code <= 0x7A:
        return chr(code)
    return f"\\x{code:02X}" if code < 0x100 else f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"


def seq(*parts: Expr) -> Expr:
    """One after the other."""
    return " ".join(part for part in parts if part != EMPTY) or EMPTY


def alt(parts: Sequence[Expr]) -> Expr:
    """One of them; duplicates are dropped."""
    unique = list(dict.fromkeys(parts))
    if len(unique) == 1:
        return unique[0]
    if EMPTY in unique:
        return optional(alt([part for part in unique if part != EMPTY]))
    return f"({' | '.join(unique)})"


def group(expr: Expr) -> Expr:
    """As something that a repetition sign can follow."""
    return expr if _ATOM.fullmatch(expr) else f"({expr})"


def optional(expr: Expr) -> Expr:
    """It, or nothing."""
    return EMPTY if expr == EMPTY else f"{group(expr)}?"


class Rules:
    """The rules of one grammar; equal expressions share a rule."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._names: dict[Expr, str] = {}
        self._chars = 0

    def add(self, expr: Expr, hint: str = "r") -> Expr:
        """The name of a rule for `expr`. Raises UnsupportedSchema when the grammar grows too large."""
        if re.fullmatch(r"[A-Za-z0-9-]+", expr):
            return expr
        name = self._names.get(expr)
        if name is None:
            name = f"{hint}-{len(self._names)}"
            self._names[expr] = name
            self._chars += len(expr) + len(name) + 6
            if len(self._names) > self.limits.max_rules or self._chars > self.limits.max_chars:
                raise UnsupportedSchema("schema", "", "its grammar would be too large")
        return name

    def text(self, root: Expr) -> str:
        """The grammar; its start is `root`."""
        lines = [f"root ::= {root}"]
        lines += [f"{name} ::= {expr}" for expr, name in self._names.items()]
        return "\n".join(lines) + "\n"

    def repeat(self, expr: Expr, low: int, high: int | None) -> Expr:
        """`low` to `high` (None: any number) times `expr`, which must not be able to be empty."""
        if high == 0:
            return EMPTY
        if not _ATOM.fullmatch(expr):
            expr = self.add(expr)  # llama.cpp counts what stands in a group against its limit of repetitions
        if high is None:
            if low <= 1:
                return f"{group(expr)}{'+' if low else '*'}"
            return seq(self._exactly(expr, low), f"{group(expr)}*")
        if high <= _INLINE:
            if (low, high) == (1, 1):
                return expr
            return (
                f"{group(expr)}{f'{{{low}}}' if low == high else '?' if (low, high) == (0, 1) else f'{{{low},{high}}}'}"
            )
        return seq(self._exactly(expr, low), self._up_to(expr, high - low))

    def _block(self, expr: Expr, power: int) -> Expr:
        """2**power times."""
        name = self.add(expr)
        for _ in range(power):
            name = self.add(f"{name} {name}")
        return name

    def _exactly(self, expr: Expr, count: int) -> Expr:
        if count <= _INLINE:
            return EMPTY if count == 0 else expr if count == 1 else f"{group(expr)}{{{count}}}"
        powers = [power for power in range(count.bit_length() - 1, -1, -1) if count >> power & 1]
        return seq(*(self._block(expr, power) for power in powers))

    def _up_to(self, expr: Expr, count: int) -> Expr:
        """0 to `count` times. Each number of times is read in one way only: larger blocks come first."""
        if count <= _INLINE:
            return self.repeat(expr, 0, count)
        power = count.bit_length() - 1
        if count == (2 << power) - 1:
            return self._below(expr, power + 1)
        rest = self._up_to(expr, count - (1 << power))
        return self.add(alt([self._below(expr, power), seq(self._block(expr, power), rest)]))

    def _below(self, expr: Expr, power: int) -> Expr:
        """0 to 2**power - 1 times."""
        name = EMPTY
        for exponent in range(power):
            name = self.add(seq(optional(self._block(expr, exponent)), name))
        return name
