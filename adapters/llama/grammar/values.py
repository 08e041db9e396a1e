"""Grammar of JSON values that no schema describes, and of the pieces that all values share.

Owns white space, free strings and keys, and free values of bounded nesting. Refuses to know schemas. Invariants: every
text is JSON without raw control characters or lone surrogates, and nesting ends before any parser's limit.
"""

import json
from collections.abc import Iterable

from adapters.llama.grammar.gbnf import EMPTY, Expr, Range, Rules, alt, char_class, literal, optional, seq
from adapters.llama.grammar.ranges import FREE_NUMBER
from adapters.llama.grammar.regex import minus

# written out: a negated class would also take what is no Unicode, such as the bytes F5 80 80 80
_PLAIN_RANGES: list[Range] = [(0x20, 0x21), (0x23, 0x5B), (0x5D, 0x7E), (0x80, 0xD7FF), (0xE000, 0x10FFFF)]
_PLAIN = char_class(_PLAIN_RANGES)
_CHAR = (
    f'{_PLAIN} | "\\\\" (["\\\\/bfnrt] | "u" ([0-9A-Ca-cEeFf] [0-9A-Fa-f]{{3}} | [Dd] [0-7] [0-9A-Fa-f]{{2}}'
    ' | [Dd] [89ABab] [0-9A-Fa-f]{2} "\\\\u" [Dd] [C-Fc-f] [0-9A-Fa-f]{2}))'
)
_SPACE = '(" " | "\\n" [ \\t]{0,32})?'
_Tree = dict[str, "_Tree"]
_FREE_DEPTH = 10
_KEY_CHARS = 64


class Values:
    """The shared rules of one grammar."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._free: list[Expr] = []

    @property
    def space(self) -> Expr:
        """White space between tokens: nothing, a blank, or one line break with indentation."""
        return self._rules.add(_SPACE, "ws")

    @property
    def char(self) -> Expr:
        """One character inside a string, escaped where it must be."""
        return self._rules.add(_CHAR, "char")

    def string(self, low: int = 0, high: int | None = None) -> Expr:
        """A string of `low` to `high` characters."""
        cap = self._rules.limits.free_chars
        if high is None and cap is not None:
            high = max(low, cap)
        return self._rules.add(seq('"\\""', self._rules.repeat(self.char, low, high), '"\\""'), "string")

    def constant(self, value: object) -> Expr:
        """Exactly this value, with the usual freedom of white space."""
        if isinstance(value, dict):
            members = [seq(self.key(name), self.constant(inner)) for name, inner in value.items()]
            return self.wrapped("{", self._listed(members), "}")
        if isinstance(value, list):
            return self.wrapped("[", self._listed([self.constant(inner) for inner in value]), "]")
        return literal(json.dumps(value, ensure_ascii=False, allow_nan=False))

    def _listed(self, members: list[Expr]) -> Expr:
        return seq(*(seq(self.comma() if at else EMPTY, member) for at, member in enumerate(members)))

    def key(self, name: str) -> Expr:
        """A property name and its colon."""
        return seq(literal(json.dumps(name, ensure_ascii=False) + ":"), self.space)

    def comma(self) -> Expr:
        """Between members."""
        return seq('","', self.space)

    def wrapped(self, begin: str, inner: Expr, end: str) -> Expr:
        """Between brackets."""
        return seq(literal(begin), self.space, inner if inner == EMPTY else seq(inner, self.space), literal(end))

    def other_key(self, names: Iterable[str]) -> Expr:
        """A property name that is none of `names`, without escapes, and its colon."""
        tree: _Tree = {}
        for name in names:
            if all(_is_plain(char) for char in name):
                node = tree
                for char in name:
                    node = node.setdefault(char, {})
                node[""] = {}
        return seq('"\\""', self._other(tree, 0), '"\\":"', self.space)

    def _other(self, node: "_Tree", depth: int) -> Expr:
        """What may follow a common beginning: anything that does not spell one of the names."""
        plain = self._rules.add(_PLAIN, "plain")
        rest = self._rules.repeat(plain, 0, max(1, _KEY_CHARS - depth))
        if not node:
            return self._rules.add(seq(plain, rest)) if depth else self._rules.add(rest)
        children = [char for char in node if char]
        parts = [self._rules.add(seq(literal(char), self._other(node[char], depth + 1))) for char in children]
        taken = [(ord(char), ord(char)) for char in children]
        outside = char_class(minus(_PLAIN_RANGES, taken))
        parts.append(seq(outside, rest))
        return alt(parts) if "" in node else optional(alt(parts))

    def value(self, depth: int = 0) -> Expr:
        """Any JSON value, nested up to a bound."""
        parts = [self.string(), self._rules.add(FREE_NUMBER, "number"), '"true"', '"false"', '"null"']
        if depth < _FREE_DEPTH:
            parts = [self.object(depth + 1), self.array(depth + 1), *parts]
        return self._rules.add(alt(parts), "value")

    def object(self, depth: int = 0) -> Expr:
        """Any JSON object."""
        member = self._rules.add(seq(self.string(), '":"', self.space, self.value(depth)), "member")
        return self._rules.add(self._list("{", member, "}"), "object")

    def array(self, depth: int = 0) -> Expr:
        """Any JSON array."""
        return self._rules.add(self._list("[", self.value(depth), "]"), "array")

    def _list(self, begin: str, member: Expr, end: str) -> Expr:
        cap = self._rules.limits.free_items
        more = self._rules.repeat(seq(self.comma(), member), 0, None if cap is None else max(cap - 1, 0))
        return self.wrapped(begin, optional(seq(member, more)), end)


def _is_plain(char: str) -> bool:
    return char not in '"\\' and ord(char) > 0x1F and ord(char) != 0x7F
