"""JSON schema to GBNF.

Owns the walk over one schema document and what is written for each type. Refuses to guess: what has no exact grammar is
an UnsupportedSchema naming keyword and place. Invariants: every text of the grammar is JSON that is valid for the
schema; properties come in the schema's order; objects that say nothing of further properties get none.
"""

import math
from decimal import Decimal

from adapters.llama.grammar import disjoint, ranges, regex
from adapters.llama.grammar.document import Document
from adapters.llama.grammar.errors import UnsupportedSchema
from adapters.llama.grammar.flat import Flat, Schema, type_of
from adapters.llama.grammar.formats import FORMATS, FREE_FORMATS
from adapters.llama.grammar.gbnf import EMPTY, Expr, Limits, Rules, alt, literal, optional, seq
from adapters.llama.grammar.values import Values

_MAX_LISTED = 1_000  # numbers that are listed one by one
_MAX_COUNT = 1_000_000


class Compiler:
    """Writes schemas of one document into shared rules. `recursion` bounds how often a schema may contain itself."""

    def __init__(self, document: Document, rules: Rules, recursion: int) -> None:
        self._document = document
        self._rules = rules
        self._values = Values(rules)
        self._recursion = recursion
        self._level = 0
        self._refs: dict[tuple[str, int], Expr | None] = {}

    def root(self, schema: Schema) -> Expr:
        """The grammar of a whole answer. Raises UnsupportedSchema, also when no value can be valid."""
        expr = self.compile(schema, "")
        if expr is None:
            raise UnsupportedSchema("schema", "", "no value can be valid")
        return expr

    def compile(self, schema: Schema, path: str) -> Expr | None:
        """The grammar of one value; None when none is valid (or none ends within the recursion that is allowed)."""
        document = self._document
        if document.only(schema, "$ref"):
            return self._reference(schema["$ref"], path)
        for key in ("anyOf", "oneOf", "allOf"):
            if document.only(schema, key):
                parts = document.branches(schema, key, path)
                if key == "oneOf":
                    each = [document.expand(part, f"{path}/oneOf/{at}", 1) for at, part in enumerate(parts)]
                    disjoint.check(each, document, path, final=True)
                if key != "allOf" or len(parts) == 1:
                    return self._union([self.compile(part, f"{path}/{key}/{at}") for at, part in enumerate(parts)])
        return self._union([self._flat(flat, path) for flat in document.expand(schema, path)])

    def _union(self, exprs: list[Expr | None]) -> Expr | None:
        known = [expr for expr in exprs if expr is not None]
        return self._rules.add(alt(known)) if known else None

    def _reference(self, pointer: str, path: str) -> Expr | None:
        key = (pointer, self._level)
        if key not in self._refs:
            target = self._document.resolve(pointer, path)
            step = int(self._document.recursive(pointer))
            if self._level + step > self._recursion:
                return None
            self._level += step
            self._refs[key] = self.compile(target, pointer)
            self._level -= step
        return self._refs[key]

    def _flat(self, flat: Flat, path: str) -> Expr | None:
        if flat.enum is not None:
            return self._listed(flat, path)
        kinds = flat.implied_types()
        if not kinds:
            return self._values.value()
        if "number" in kinds:
            kinds -= {"integer"}
        order = ("object", "array", "string", "number", "integer", "boolean", "null")
        return self._union([self._typed(kind, flat, path) for kind in order if kind in kinds])

    def _typed(self, kind: str, flat: Flat, path: str) -> Expr | None:
        if kind == "object":
            return self._object(flat, path)
        if kind == "array":
            return self._array(flat, path)
        if kind == "string":
            return self._string(flat, path)
        if kind == "boolean":
            return '("true" | "false")'
        return '"null"' if kind == "null" else self._number(flat, path, whole=kind == "integer")

    # -- listed values ------------------------------------------------------------------------------------------------

    def _listed(self, flat: Flat, path: str) -> Expr | None:
        values = [value for value in flat.enum or () if self._allowed(value, flat, path)]
        return alt([self._values.constant(value) for value in values]) if values else None

    def _allowed(self, value: object, flat: Flat, path: str) -> bool:
        """Whether a listed value obeys the keywords beside the list."""
        kind = type_of(value)
        if flat.types is not None and kind not in flat.types and not (kind == "integer" and "number" in flat.types):
            return False
        if isinstance(value, str):
            if flat.patterns or flat.formats:
                raise UnsupportedSchema("enum", path, "together with a pattern or format; leave the latter away")
            return flat.min_length <= len(value) <= (math.inf if flat.max_length is None else flat.max_length)
        if isinstance(value, int | float) and not isinstance(value, bool):
            number = Decimal(str(value))
            over = flat.low is None or number > flat.low[0] or (number == flat.low[0] and not flat.low[1])
            under = flat.high is None or number < flat.high[0] or (number == flat.high[0] and not flat.high[1])
            return over and under and (flat.multiple is None or number % flat.multiple == 0)
        if isinstance(value, dict | list) and flat.said:
            raise UnsupportedSchema("enum", path, "objects or lists together with keywords about their content")
        return True

    # -- numbers ------------------------------------------------------------------------------------------------------

    def _number(self, flat: Flat, path: str, whole: bool) -> Expr | None:
        multiple = flat.multiple
        if not whole and multiple is None:
            try:
                expr = ranges.decimals(flat.low, flat.high)
            except ValueError as error:
                raise UnsupportedSchema("minimum", path, str(error)) from error
            return None if expr is None else self._rules.add(expr, "number")
        if multiple is not None and multiple % 1:
            raise UnsupportedSchema("multipleOf", path, "only whole divisors are supported")
        low = None if flat.low is None else math.floor(flat.low[0]) + 1 if flat.low[1] else math.ceil(flat.low[0])
        high = None if flat.high is None else math.ceil(flat.high[0]) - 1 if flat.high[1] else math.floor(flat.high[0])
        if multiple is None or multiple == 1:
            expr = ranges.integers(low, high)
            return None if expr is None else self._rules.add(expr, "integer")
        step = int(multiple)
        if low is None or high is None or (high - low) // step > _MAX_LISTED:
            raise UnsupportedSchema("multipleOf", path, f"needs bounds with at most {_MAX_LISTED} values between them")
        first = -(-low // step) * step
        return alt([literal(str(value)) for value in range(first, high + 1, step)]) if first <= high else None

    # -- strings ------------------------------------------------------------------------------------------------------

    def _string(self, flat: Flat, path: str) -> Expr | None:
        inner = self._string_inside(flat, path)
        if inner is None:
            return None
        return self._rules.add(seq('"\\""', inner, '"\\""'), "string")

    def _string_inside(self, flat: Flat, path: str) -> Expr | None:
        """What stands between the quotes."""
        low, high = flat.min_length, flat.max_length
        if high is not None and low > high:
            return None
        if low > _MAX_COUNT:
            raise UnsupportedSchema("minLength", path, f"must be at most {_MAX_COUNT}")
        formats = [name for name in flat.formats if name not in FREE_FORMATS]
        patterns = list(flat.patterns)
        keyword = "pattern"
        for name in formats:
            if name not in FORMATS:
                raise UnsupportedSchema("format", path, f"the format {name!r} is not known")
            patterns.append(FORMATS[name])
            keyword = "format"
        if len(patterns) > 1:
            raise UnsupportedSchema(keyword, path, "more than one pattern or format for one text")
        if not patterns:
            cap = self._rules.limits.free_chars
            most = max(low, cap) if high is None and cap is not None else high
            return self._rules.repeat(self._values.char, low, most if most is None else min(most, _MAX_COUNT))
        try:
            node = regex.within(regex.parse(patterns[0]), low, high)
            return regex.write(node, self._rules)
        except regex.PatternError as error:
            raise UnsupportedSchema(keyword, path, str(error)) from error
        except RecursionError as error:
            raise UnsupportedSchema(keyword, path, "it is nested too deeply") from error

    # -- arrays -------------------------------------------------------------------------------------------------------

    def _array(self, flat: Flat, path: str) -> Expr | None:
        values, rules = self._values, self._rules
        low, high = flat.min_items, flat.max_items
        if low > _MAX_COUNT:
            raise UnsupportedSchema("minItems", path, f"must be at most {_MAX_COUNT}")
        if high is None and rules.limits.free_items is not None:
            high = max(low, rules.limits.free_items, len(flat.prefix))
        fixed = [self.compile(item, f"{path}/prefixItems/{at}") for at, item in enumerate(flat.prefix)]
        usable = next((at for at, item in enumerate(fixed) if item is None), len(fixed))
        usable = usable if high is None else min(usable, high)
        tail, endless = EMPTY, False
        if usable == len(flat.prefix) and (high is None or high > usable) and not (flat.prefix and flat.items is None):
            item = self.compile(True if flat.items is None else flat.items, f"{path}/items")
            if item is not None:
                tail, endless = self._more_items(item, usable, low, high), True
        if low > usable and not endless:
            return None
        expr = tail
        for at in range(usable - 1, -1, -1):
            step = seq(values.comma() if at else EMPTY, fixed[at] or EMPTY, expr)
            expr = step if at < low else optional(step)
        return rules.add(values.wrapped("[", expr, "]"), "array")

    def _more_items(self, item: Expr, before: int, low: int, high: int | None) -> Expr:
        """The items behind `before` leading ones."""
        rules = self._rules
        more = rules.add(seq(self._values.comma(), item), "more")
        least, most = max(0, low - before), None if high is None else min(high - before, _MAX_COUNT)
        if before:
            return rules.repeat(more, least, most)
        if most == 0:
            return EMPTY
        rest = rules.repeat(more, max(0, least - 1), None if most is None else most - 1)
        return seq(item, rest) if least else optional(seq(item, rest))

    # -- objects ------------------------------------------------------------------------------------------------------

    def _object(self, flat: Flat, path: str) -> Expr | None:
        names = [*flat.properties, *(name for name in flat.required if name not in flat.properties)]
        if not names:
            return self._map(flat, path)
        if flat.names is not None:
            raise UnsupportedSchema("propertyNames", path, "together with named properties")
        required = set(flat.required)
        open_ended = flat.additional not in (None, False)
        if flat.min_properties > len(required) or (
            flat.max_properties is not None and (open_ended or flat.max_properties < len(names))
        ):
            keyword = "minProperties" if flat.min_properties > len(required) else "maxProperties"
            raise UnsupportedSchema(keyword, path, "together with named properties")
        members: list[tuple[Expr, bool]] = []
        for name in names:
            schema = flat.properties.get(name, True if flat.additional is None else flat.additional)
            value = self.compile(schema, f"{path}/properties/{name}")
            if value is not None:
                members.append((self._rules.add(seq(self._values.key(name), value), "kv"), name in required))
            elif name in required:
                return None
        extra = self._extra_members(flat, names, path) if open_ended else None
        return self._rules.add(self._values.wrapped("{", self._members(members, extra), "}"), "object")

    def _extra_members(self, flat: Flat, names: list[str], path: str) -> Expr | None:
        value = self.compile(flat.additional, f"{path}/additionalProperties")
        return None if value is None else self._rules.add(seq(self._values.other_key(names), value), "kv")

    def _members(self, members: list[tuple[Expr, bool]], extra: Expr | None) -> Expr:
        """Members in order, the optional ones optional, with commas only between them."""
        rules, comma = self._rules, self._values.comma()
        after = EMPTY  # what may follow once something was written
        start = EMPTY  # what may follow while nothing was
        if extra is not None:
            cap = rules.limits.free_items
            after = rules.repeat(rules.add(seq(comma, extra), "more"), 0, cap)
            start = optional(rules.add(seq(extra, after)))
        for member, needed in reversed(members):
            first = seq(member, after)
            later = seq(comma, first)
            start = rules.add(first) if needed else self._or_without(first, start)
            after = rules.add(later) if needed else self._or_without(later, after)
        return start

    def _or_without(self, expr: Expr, other: Expr) -> Expr:
        """An optional member and what follows it, or only what follows."""
        return self._rules.add(alt([expr, other]))

    def _map(self, flat: Flat, path: str) -> Expr | None:
        """An object without named properties."""
        values, rules = self._values, self._rules
        if flat.min_properties > 1:
            raise UnsupportedSchema(
                "minProperties", path, "only 0 and 1 are supported (a grammar cannot compare names)"
            )
        high = flat.max_properties
        if high is None:
            high = rules.limits.free_items
        if flat.additional is False or high == 0:
            return None if flat.min_properties else rules.add(values.wrapped("{", EMPTY, "}"), "object")
        key = self._map_key(flat, path)
        value = self.compile(True if flat.additional is None else flat.additional, f"{path}/additionalProperties")
        if key is None or value is None:
            return None if flat.min_properties else rules.add(values.wrapped("{", EMPTY, "}"), "object")
        member = rules.add(seq(key, '":"', values.space, value), "kv")
        more = rules.repeat(rules.add(seq(values.comma(), member), "more"), 0, None if high is None else high - 1)
        body = seq(member, more)
        return rules.add(values.wrapped("{", body if flat.min_properties else optional(body), "}"), "object")

    def _map_key(self, flat: Flat, path: str) -> Expr | None:
        if flat.names is None or flat.names is True:
            return self._values.string()
        named = {"allOf": [{"type": "string"}, flat.names]}
        return self.compile(named, f"{path}/propertyNames")


def compile_schema(schema: Schema, limits: Limits | None = None) -> str:
    """GBNF text whose start is `root`. Raises UnsupportedSchema."""
    limits = limits or Limits()
    document = Document(schema, limits)
    recursion = limits.max_recursion
    while True:
        rules = Rules(limits)
        try:
            return rules.text(Compiler(document, rules, recursion).root(schema))
        except RecursionError as error:
            if recursion <= 2:
                raise UnsupportedSchema("schema", "", "it is nested too deeply") from error
        except UnsupportedSchema as error:
            if error.keyword != "schema" or "too large" not in error.reason or recursion <= 2:
                raise
        recursion //= 2  # a recursive schema that is too large unrolled: allow it less depth
