"""A useful subset of JSON Schema's regular expressions, as grammar.

Owns the parser for that subset and the writing of matched characters as they appear inside a JSON string. Refuses what
has no exact counterpart (look-around, back-references, word borders, \\p), by name. Invariants: what is written matches
in ECMAScript and in Python alike (negated classes stay within ASCII where the two differ), and lengths count code points.
"""

import msgspec

from adapters.llama.grammar.gbnf import EMPTY, Expr, Range, Rules, alt, char_class, literal, seq

_DIGIT: list[Range] = [(0x30, 0x39)]
_WORD: list[Range] = [(0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)]
_SPACE: list[Range] = [(0x09, 0x0A), (0x0D, 0x0D), (0x20, 0x20)]
# everything that ECMAScript or Python calls white space
_WIDE_SPACE: list[Range] = [
    (0x09, 0x0D), (0x1C, 0x20), (0x85, 0x85), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A), (0x2028, 0x2029),
    (0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000), (0xFEFF, 0xFEFF),
]  # fmt: skip
_ASCII: list[Range] = [(0x20, 0x7E)]
_ANY: list[Range] = [(0x00, 0xD7FF), (0xE000, 0x10FFFF)]
_LINE_ENDS: list[Range] = [(0x0A, 0x0A), (0x0D, 0x0D), (0x2028, 0x2029)]
_ESCAPES = {"n": 0x0A, "r": 0x0D, "t": 0x09, "f": 0x0C, "v": 0x0B, "0": 0x00}
_SHORT = {0x08: "\\b", 0x09: "\\t", 0x0A: "\\n", 0x0C: "\\f", 0x0D: "\\r", 0x22: '\\"', 0x5C: "\\\\"}
_MAX_COUNT = 100_000


class PatternError(ValueError):
    """The expression is outside the subset; the text says why."""


class Chars(msgspec.Struct, frozen=True):
    """One character out of ranges."""

    ranges: tuple[Range, ...]


class Seq(msgspec.Struct, frozen=True):
    """One after the other."""

    parts: tuple["Node", ...]


class Alt(msgspec.Struct, frozen=True):
    """One of them."""

    parts: tuple["Node", ...]


class Repeat(msgspec.Struct, frozen=True):
    """`low` to `high` times; None is without a bound."""

    body: "Node"
    low: int
    high: int | None


Node = Chars | Seq | Alt | Repeat

FREE_CHAR = Chars(tuple(_ANY))
ANYTHING = Repeat(FREE_CHAR, 0, None)


def parse(pattern: str) -> Node:
    """The language of `pattern` with JSON Schema's search semantics. Raises PatternError."""
    return _Parser(pattern).whole()


def lengths(node: Node) -> tuple[int, int | None]:
    """Fewest and most code points of a match; None is without a bound."""
    if isinstance(node, Chars):
        return 1, 1
    if isinstance(node, Repeat):
        low, high = lengths(node.body)
        most = 0 if node.high == 0 or high == 0 else None if node.high is None or high is None else node.high * high
        return low * node.low, most
    pairs = [lengths(part) for part in node.parts]
    lows, highs = [low for low, _ in pairs], [high for _, high in pairs]
    known = [high for high in highs if high is not None]
    if isinstance(node, Seq):
        return sum(lows), sum(known) if len(known) == len(highs) else None
    return min(lows, default=0), max(known, default=0) if len(known) == len(highs) else None


def within(node: Node, low: int, high: int | None) -> Node:
    """The same language cut to lengths low..high. Raises PatternError where that is not simple.

    Simple is: the bounds hold anyway, or one repetition of single characters is all that varies.
    """
    least, most = lengths(node)
    if least >= low and (high is None or (most is not None and most <= high)):
        return node
    parts = list(node.parts) if isinstance(node, Seq) else [node]
    loose = [at for at, part in enumerate(parts) if lengths(part)[0] != lengths(part)[1]]
    if len(loose) != 1:
        raise PatternError("together with a length the pattern may vary in one place only")
    part = parts[loose[0]]
    if not isinstance(part, Repeat) or lengths(part.body) != (1, 1):
        raise PatternError("together with a length only a repetition of single characters may vary")
    fixed = sum(lengths(other)[0] for at, other in enumerate(parts) if at != loose[0])
    lower = max(part.low, low - fixed)
    upper = part.high if high is None else high - fixed if part.high is None else min(part.high, high - fixed)
    if upper is not None and upper < lower:
        raise PatternError("no text has both this pattern and this length")
    parts[loose[0]] = Repeat(part.body, lower, upper)
    return Seq(tuple(parts))


def write(node: Node, rules: Rules) -> Expr:
    """The grammar of the inside of a JSON string that matches. Raises PatternError."""
    if isinstance(node, Chars):
        return rules.add(_written(node.ranges), "chars")
    if isinstance(node, Seq):
        return seq(*(write(part, rules) for part in _fused(node.parts)))
    if isinstance(node, Alt):
        return alt([write(part, rules) for part in node.parts]) if node.parts else EMPTY
    if node.high == 0:
        return EMPTY
    if lengths(node.body)[0] == 0 and node.high != 1:
        raise PatternError("something that may be empty is repeated")
    body = write(node.body, rules)
    if body == EMPTY:
        return EMPTY
    if (node.low, node.high) == (0, 1) and lengths(node.body)[0] == 0:
        return body
    return rules.repeat(body if node.high == 1 else rules.add(body), node.low, node.high)


def _fused(parts: tuple[Node, ...]) -> list[Node]:
    return [part for part in parts if not (isinstance(part, Seq) and not part.parts)]


def _written(ranges: tuple[Range, ...]) -> Expr:
    """One of these characters, in the one form in which we write it inside a JSON string."""
    plain: list[Range] = []
    parts: list[Expr] = []
    for low, high in ranges:
        at = low
        for special in (code for code in _special_codes() if low <= code <= high):
            if at < special:
                plain.append((at, special - 1))
            parts.append(literal(_SHORT.get(special) or f"\\u{special:04x}"))
            at = special + 1
        if at <= high:
            plain.append((at, high))
    if plain:
        single = len(plain) == 1 and plain[0][0] == plain[0][1]
        parts.insert(0, literal(chr(plain[0][0])) if single else char_class(plain))
    if not parts:
        raise PatternError("a character class is empty")
    return alt(parts)


def _special_codes() -> list[int]:
    return [*range(0x20), 0x22, 0x5C, 0x7F]


def merged(ranges: list[Range]) -> list[Range]:
    """Sorted, without overlaps."""
    out: list[Range] = []
    for low, high in sorted(ranges):
        if out and low <= out[-1][1] + 1:
            out[-1] = (out[-1][0], max(out[-1][1], high))
        else:
            out.append((low, high))
    return out


def minus(ranges: list[Range], less: list[Range]) -> list[Range]:
    """Ranges without the code points of others."""
    out = merged(ranges)
    for cut_low, cut_high in merged(less):
        kept: list[Range] = []
        for low, high in out:
            if cut_high < low or cut_low > high:
                kept.append((low, high))
                continue
            if low < cut_low:
                kept.append((low, cut_low - 1))
            if high > cut_high:
                kept.append((cut_high + 1, high))
        out = kept
    return out


class _Parser:
    """Recursive descent over one pattern."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def whole(self) -> Node:
        """Alternatives at the top, each with its own anchors."""
        parts = [self._anchored()]
        while self._take("|"):
            parts.append(self._anchored())
        if self._at < len(self._text):
            raise PatternError(f"unexpected {self._text[self._at]!r} at position {self._at}")
        return parts[0] if len(parts) == 1 else Alt(tuple(parts))

    def _anchored(self) -> Node:
        begins = self._take("^")
        inner = self._sequence()
        ends = self._take("$")
        if ends and self._peek() not in ("", "|"):
            raise PatternError("'$' before the end of an alternative")
        parts = [inner] if begins else [ANYTHING, inner]
        if not ends:
            parts.append(ANYTHING)
        return _flat(parts)

    def _peek(self) -> str:
        return self._text[self._at] if self._at < len(self._text) else ""

    def _take(self, token: str) -> bool:
        if self._text.startswith(token, self._at):
            self._at += len(token)
            return True
        return False

    def _alternatives(self) -> Node:
        parts = [self._sequence()]
        while self._take("|"):
            parts.append(self._sequence())
        return parts[0] if len(parts) == 1 else Alt(tuple(parts))

    def _sequence(self) -> Node:
        parts: list[Node] = []
        while self._peek() not in ("", "|", ")", "$"):
            parts.append(self._quantified(self._atom()))
        return _flat(parts)

    def _atom(self) -> Node:
        char = self._text[self._at]
        if char == "(":
            return self._group()
        if char == "[":
            return Chars(tuple(self._class()))
        self._at += 1
        if char == ".":
            return Chars(tuple(minus(_ANY, _LINE_ENDS)))
        if char == "\\":
            return Chars(tuple(self._escape(in_class=False)))
        if char in "*+?{^":
            raise PatternError(f"unexpected {char!r} at position {self._at - 1}")
        return Chars(((ord(char), ord(char)),))

    def _group(self) -> Node:
        self._at += 1
        if self._take("?"):
            if self._take("P<") or (
                self._text.startswith("<", self._at) and self._text[self._at + 1 : self._at + 2] not in "=!"
            ):
                end = self._text.find(">", self._at)
                if end < 0:
                    raise PatternError("a group name without an end")
                self._at = end + 1
            elif not self._take(":"):
                raise PatternError("look-around and other (?…) groups have no counterpart")
        inner = self._alternatives()
        if not self._take(")"):
            raise PatternError("'$' inside a group" if self._peek() == "$" else "a group without an end")
        return inner

    def _quantified(self, node: Node) -> Node:
        low: int
        high: int | None
        if self._take("*"):
            low, high = 0, None
        elif self._take("+"):
            low, high = 1, None
        elif self._take("?"):
            low, high = 0, 1
        elif self._peek() == "{" and (counted := self._count()) is not None:
            low, high = counted
        else:
            return node
        self._take("?")  # lazy: the language is the same
        if self._peek() in ("*", "+", "?"):
            raise PatternError("a quantifier behind a quantifier")
        return Repeat(node, low, high)

    def _count(self) -> tuple[int, int | None] | None:
        end = self._text.find("}", self._at)
        low, comma, high = self._text[self._at + 1 : max(end, 0)].partition(",")
        if end < 0 or not low.isdigit() or not (high.isdigit() or not high):
            raise PatternError("'{' that is no quantifier; write \\{")
        self._at = end + 1
        least = int(low)
        most = int(high) if high else (None if comma else least)
        if least > _MAX_COUNT or (most or 0) > _MAX_COUNT or (most is not None and most < least):
            raise PatternError("a repetition count is out of bounds")
        return least, most

    def _escape(self, in_class: bool) -> list[Range]:
        char = self._peek()
        self._at += 1
        classes = {"d": _DIGIT, "w": _WORD, "s": _SPACE}
        if char in classes:
            return classes[char]
        if char == "S":
            return minus(_ANY, _WIDE_SPACE)
        if char and char.lower() in classes:
            return minus(_ASCII, classes[char.lower()])
        if char in _ESCAPES:
            return [(_ESCAPES[char], _ESCAPES[char])]
        if char == "b" and in_class:
            return [(0x08, 0x08)]
        if char in ("x", "u"):
            return self._hexadecimal(2 if char == "x" else 4)
        if not char or char.isalnum():
            raise PatternError(f"'\\{char}' has no counterpart")
        return [(ord(char), ord(char))]

    def _hexadecimal(self, size: int) -> list[Range]:
        text = self._text[self._at : self._at + size]
        try:
            code = int(text, 16)
        except ValueError:
            raise PatternError("a broken \\x or \\u escape") from None
        if len(text) < size or 0xD800 <= code <= 0xDFFF:
            raise PatternError("a broken \\x or \\u escape")
        self._at += size
        return [(code, code)]

    def _class(self) -> list[Range]:
        self._at += 1
        negated = self._take("^")
        ranges: list[Range] = []
        outside = list(_ANY)  # what a negated class may take
        while not self._take("]"):
            if not self._peek():
                raise PatternError("a character class without an end")
            first = self._class_atom()
            if self._peek() == "-" and self._text[self._at + 1 : self._at + 2] not in ("]", ""):
                self._at += 1
                first = [_between(first, self._class_atom())]
            elif first == _SPACE:
                outside = minus(outside, _WIDE_SPACE)
            elif len(first) > 1 or first == _DIGIT:
                outside = minus(outside, [(0x7F, 0x10FFFF)])
            ranges += first
        out = minus(outside, ranges) if negated else merged(ranges)
        if not out:
            raise PatternError("a character class is empty")
        return out

    def _class_atom(self) -> list[Range]:
        char = self._text[self._at]
        self._at += 1
        return self._escape(in_class=True) if char == "\\" else [(ord(char), ord(char))]


def _between(first: list[Range], last: list[Range]) -> Range:
    if len(first) != 1 or len(last) != 1 or first[0][0] != first[0][1] or last[0][0] != last[0][1]:
        raise PatternError("a class as the end of a range")
    if last[0][0] < first[0][0]:
        raise PatternError("a range that runs backwards")
    return first[0][0], last[0][0]


def _flat(parts: list[Node]) -> Node:
    out: list[Node] = []
    for part in parts:
        out.extend(part.parts if isinstance(part, Seq) else [part])
    return out[0] if len(out) == 1 else Seq(tuple(out))
