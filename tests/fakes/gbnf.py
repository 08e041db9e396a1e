"""A GBNF reader for tests: says whether a grammar takes a text, and makes texts out of a grammar.

Independent of the code that writes grammars; follows llama.cpp's rules (repetition rewritten to rules, no upper bound
above 2,000, names of letters, digits and dashes, no left recursion).
"""

import random
import re
from collections.abc import Iterator
from functools import lru_cache

MAX_REPETITION = 2000
_NAME = re.compile(r"[A-Za-z0-9-]+")
_SIMPLE = {"t": "\t", "r": "\r", "n": "\n", "\\": "\\", '"': '"', "[": "[", "]": "]", "-": "-"}

Element = tuple  # ("c", negated, ((low, high), ...)) or ("r", rule index)


class BadGrammar(ValueError):
    """llama.cpp would not take it."""


class Grammar:
    """Rules as lists of alternatives; an alternative is a tuple of elements."""

    def __init__(self, text: str) -> None:
        self._index: dict[str, int] = {}
        self.rules: list[list[tuple[Element, ...]] | None] = []
        for line in text.splitlines():
            if line.strip():
                name, sep, body = line.partition(" ::= ")
                if not sep or not _NAME.fullmatch(name):
                    raise BadGrammar(f"not a rule: {line[:80]!r}")
                reader = _Reader(self, body)
                alternatives = reader.alternatives()
                reader.end()
                rule = self.symbol(name)
                if self.rules[rule] is not None:
                    raise BadGrammar(f"two rules {name!r}")
                self.rules[rule] = alternatives
        undefined = [name for name, at in self._index.items() if self.rules[at] is None]
        if undefined or "root" not in self._index:
            raise BadGrammar(f"undefined rules: {undefined or ['root']}")
        self.root = self._index["root"]
        self._nullable = self._find_nullable()
        self._check_left_recursion()
        self._shortest = self._find_shortest()
        self._advance = lru_cache(maxsize=None)(self._advanced)

    def symbol(self, name: str) -> int:
        if name not in self._index:
            self._index[name] = self.fresh()
        return self._index[name]

    def fresh(self, alternatives: list[tuple[Element, ...]] | None = None) -> int:
        self.rules.append(alternatives)
        return len(self.rules) - 1

    # -- recognition: sets of stacks, each stack a chain of (alternative, position, rest of the chain) ------------------

    def accepts(self, text: str) -> bool:
        """Whether the whole text is in the language."""
        stacks = self.begin()
        for char in text:
            stacks = self.step(stacks, char)
            if not stacks:
                return False
        return None in stacks

    def begin(self) -> frozenset:
        return frozenset(stack for body in self.rules[self.root] for stack in self._advance((body, 0, None)))

    def step(self, stacks: frozenset, char: str) -> frozenset:
        code = ord(char)
        out: set = set()
        for stack in stacks:
            if stack is not None:
                body, at, rest = stack
                _, negated, ranges = body[at]
                if any(low <= code <= high for low, high in ranges) != negated:
                    out |= self._advance((body, at + 1, rest))
        return frozenset(out)

    def _advanced(self, frame: tuple) -> frozenset:
        """The stacks whose top is a character (or None: the end) that `frame` can become."""
        body, at, rest = frame
        if at == len(body):
            return frozenset((None,)) if rest is None else self._advance(rest)
        element = body[at]
        if element[0] == "c":
            return frozenset((frame,))
        behind = (body, at + 1, rest) if at + 1 < len(body) else rest
        out: set = set()
        for other in self.rules[element[1]]:
            if other:
                out |= self._advance((other, 0, behind))
            elif behind is None:
                out.add(None)
            else:
                out |= self._advance(behind)
        return frozenset(out)

    # -- production -----------------------------------------------------------------------------------------------------

    def sample(self, rng: random.Random, budget: int = 300) -> str:
        """A random text; once `budget` choices are spent, the shortest way out is taken."""
        out: list[str] = []
        todo: list[Element] = [("r", self.root)]
        while todo:
            element = todo.pop()
            if element[0] == "c":
                out.append(_random_char(rng, element))
                continue
            budget -= 1
            bodies = self.rules[element[1]]
            if budget <= 0:
                least = min(self._length(body) for body in bodies)
                bodies = [body for body in bodies if self._length(body) == least]
            todo.extend(reversed(rng.choice(bodies)))
        return "".join(out)

    def _length(self, body: tuple[Element, ...]) -> float:
        return sum(1 if element[0] == "c" else self._shortest[element[1]] for element in body)

    def _find_shortest(self) -> list[float]:
        self._shortest = [float("inf")] * len(self.rules)
        changed = True
        while changed:
            changed = False
            for at, bodies in enumerate(self.rules):
                best = min(self._length(body) for body in bodies)
                if best < self._shortest[at]:
                    self._shortest[at], changed = best, True
        if self._shortest[self.root] == float("inf"):
            raise BadGrammar("no text ends")
        return self._shortest

    def _find_nullable(self) -> set[int]:
        nullable: set[int] = set()
        changed = True
        while changed:
            changed = False
            for at, bodies in enumerate(self.rules):
                if at not in nullable and any(all(e[0] == "r" and e[1] in nullable for e in body) for body in bodies):
                    nullable.add(at)
                    changed = True
        return nullable

    def _check_left_recursion(self) -> None:
        state: dict[int, int] = {}
        for root in range(len(self.rules)):
            stack: list[tuple[int, Iterator[int]]] = []
            if root not in state:
                state[root] = 1
                stack.append((root, self._leftmost(root)))
            while stack:
                at, others = stack[-1]
                for other in others:
                    if state.get(other) == 1:
                        raise BadGrammar("left recursion")
                    if other not in state:
                        state[other] = 1
                        stack.append((other, self._leftmost(other)))
                        break
                else:
                    state[at] = 2
                    stack.pop()

    def _leftmost(self, rule: int) -> Iterator[int]:
        for body in self.rules[rule]:
            for element in body:
                if element[0] == "c":
                    break
                yield element[1]
                if element[1] not in self._nullable:
                    break


class _Reader:
    """Reads the right side of one rule."""

    def __init__(self, grammar: Grammar, text: str) -> None:
        self._grammar = grammar
        self._text = text
        self._at = 0

    def end(self) -> None:
        if self._at != len(self._text):
            raise BadGrammar(f"unexpected {self._text[self._at : self._at + 20]!r}")

    def alternatives(self) -> list[tuple[Element, ...]]:
        out = [self._sequence()]
        while self._peek() == "|":
            self._at += 1
            self._space()
            out.append(self._sequence())
        return out

    def _peek(self) -> str:
        return self._text[self._at] if self._at < len(self._text) else ""

    def _space(self) -> None:
        while self._peek() in (" ", "\t") and self._peek():
            self._at += 1

    def _sequence(self) -> tuple[Element, ...]:
        self._space()
        out: list[Element] = []
        last: tuple[Element, ...] | None = None
        while True:
            char = self._peek()
            if char == '"':
                last = self._literal()
            elif char == "[":
                last = (self._class(),)
            elif char == "(":
                self._at += 1
                last = (("r", self._grammar.fresh(self.alternatives())),)
                if self._peek() != ")":
                    raise BadGrammar("a group without an end")
                self._at += 1
            elif char in ("*", "+", "?", "{") and char:
                if not last:
                    raise BadGrammar("nothing to repeat")
                del out[len(out) - len(last) :]
                last = self._repetition(last)
            elif match := _NAME.match(self._text, self._at):
                self._at = match.end()
                last = (("r", self._grammar.symbol(match.group())),)
            else:
                return tuple(out)
            out.extend(last)
            self._space()

    def _repetition(self, body: tuple[Element, ...]) -> tuple[Element, ...]:
        char = self._peek()
        if char == "{":
            match = re.compile(r"\{(\d+)(,?)(\d*)\}").match(self._text, self._at)
            if match is None:
                raise BadGrammar("a broken repetition")
            self._at = match.end()
            low = int(match[1])
            high = int(match[3]) if match[3] else (None if match[2] else low)
            if max(low, high or 0) > MAX_REPETITION:
                raise BadGrammar("a repetition is too large")
        else:
            self._at += 1
            low, high = {"*": (0, None), "+": (1, None), "?": (0, 1)}[char]
        out = body * low
        if high is None:
            loop = self._grammar.fresh()
            self._grammar.rules[loop] = [(*body, ("r", loop)), ()]
            return (*out, ("r", loop))
        rest: tuple[Element, ...] = ()
        for _ in range(high - low):
            rest = (("r", self._grammar.fresh([(*body, *rest), ()])),)
        return (*out, *rest)

    def _literal(self) -> tuple[Element, ...]:
        self._at += 1
        out = []
        while self._peek() != '"':
            code = self._char()
            out.append(("c", False, ((code, code),)))
        self._at += 1
        return tuple(out)

    def _class(self) -> Element:
        self._at += 1
        negated = self._peek() == "^"
        self._at += negated
        ranges = []
        while self._peek() != "]":
            low = high = self._char()
            if self._peek() == "-" and self._text[self._at + 1] != "]":
                self._at += 1
                high = self._char()
            if high < low:
                raise BadGrammar("a range that runs backwards")
            ranges.append((low, high))
        self._at += 1
        if not ranges:
            raise BadGrammar("an empty class")
        return ("c", negated, tuple(ranges))

    def _char(self) -> int:
        char = self._peek()
        if not char:
            raise BadGrammar("unexpected end")
        self._at += 1
        if char != "\\":
            return ord(char)
        kind = self._peek()
        self._at += 1
        if kind in _SIMPLE:
            return ord(_SIMPLE[kind])
        size = {"x": 2, "u": 4, "U": 8}.get(kind)
        digits = self._text[self._at : self._at + (size or 0)]
        if size is None or not re.fullmatch(f"[0-9A-Fa-f]{{{size}}}", digits):
            raise BadGrammar(f"unknown escape \\{kind}")
        self._at += size
        return int(digits, 16)


_PALETTE = [ord(c) for c in "abcXYZ019 _-.,:{}[]/'é漢🜚\u2028\x80"]


def _random_char(rng: random.Random, element: Element) -> str:
    _, negated, ranges = element
    if negated:
        choices = [code for code in _PALETTE if not any(low <= code <= high for low, high in ranges)]
        return chr(rng.choice(choices))
    low, high = rng.choice(ranges)
    code = rng.choice([low, high, rng.randint(low, high)])
    return chr(low if 0xD800 <= code <= 0xDFFF else code)
