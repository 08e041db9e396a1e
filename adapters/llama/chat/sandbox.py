"""The Jinja environment in which a model's own chat template runs.

Owns what such a template can reach (plain data, a short list of methods, counted operators) and the per-thread account
of the running rendering. Refuses to know messages and models. Invariants: no attribute of a Python object but those in
the tables, no import, no unbounded growth or repetition; results equal those of the usual transformers environment for
templates that stay inside.
"""

import operator
import re
import threading
from collections.abc import Callable, Iterator, KeysView, ValuesView
from datetime import datetime
from string import Formatter
from types import BuiltinMethodType
from typing import Any

from jinja2 import Undefined, nodes, pass_context
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, LoopControlExtension
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from adapters.llama.chat import filters
from adapters.llama.chat.budget import Budget, Limits
from adapters.llama.chat.errors import TemplateError, TemplateRefused
from adapters.llama.chat.guards import Guard

_STR_METHODS = frozenset(
    ("capitalize", "casefold", "center", "count", "endswith", "find", "index", "isalnum", "isalpha", "isascii",
     "isdecimal", "isdigit", "isidentifier", "islower", "isnumeric", "isspace", "istitle", "isupper", "join",
     "ljust", "lower", "lstrip", "partition", "removeprefix", "removesuffix", "replace", "rfind", "rindex",
     "rjust", "rpartition", "rsplit", "rstrip", "split", "splitlines", "startswith", "strip", "swapcase", "title",
     "upper", "zfill")
)  # fmt: skip
_METHODS: dict[type, frozenset[str]] = {
    dict: frozenset(("copy", "get", "items", "keys", "values")),
    list: frozenset(("copy", "count", "index")),
    tuple: frozenset(("count", "index")),
    float: frozenset(("is_integer",)),
}
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "eq": operator.eq, "ne": operator.ne, "lt": operator.lt, "lteq": operator.le, "gt": operator.gt,
    "gteq": operator.ge, "in": lambda a, b: a in b, "notin": lambda a, b: a not in b,
}  # fmt: skip
_WIDE = re.compile(r"[{}]|\d{4,}")
_MAX_INT_BITS = 4096
_MAX_SPLIT = 1 << 20


class _Generation(Extension):
    """`{% generation %}…{% endgeneration %}` marks what the assistant wrote; here its body is all that matters."""

    tags = {"generation"}  # noqa: RUF012 - Jinja's interface

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class Ticked:
    """An iterable whose every item is a step; as long as the original says how long it is, so does this."""

    __slots__ = ("_account", "_values")

    def __init__(self, values: Any, account: Budget) -> None:
        self._values = values
        self._account = account

    def __iter__(self) -> Iterator[object]:
        return self._account.ticked(self._values)

    def __len__(self) -> int:
        return len(self._values)


class Sandbox(ImmutableSandboxedEnvironment):
    """`from_string` compiles under it; `rendering(limits)` opens an account for the calling thread."""

    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[_Generation, LoopControlExtension],
            optimized=False,  # constant folding would run filters while compiling, outside any account
            cache_size=0,
            auto_reload=False,
        )
        self._local = threading.local()
        self.filters.clear()
        self.filters.update(filters.filters(self.account))
        self.tests.update(filters.tests(self.account))
        self.globals.pop("lipsum", None)
        self.globals.update(
            range=self._range,
            raise_exception=_raise_exception,
            strftime_now=_strftime_now,
        )
        self.finalize = self._finalize

    # -- the account --------------------------------------------------------------------------------------------------

    def open_account(self, limits: Limits) -> Budget:
        """A fresh budget for the rendering that begins in this thread."""
        budget = Budget(limits)
        self._local.budget = budget
        return budget

    def account(self) -> Budget:
        """The budget of the rendering that runs in this thread."""
        budget: Budget = self._local.budget
        return budget

    # -- hooks of Jinja -----------------------------------------------------------------------------------------------

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        Guard().visit(tree)
        return tree

    @pass_context
    def _finalize(self, _context: Context, value: object) -> object:
        """Every output passes here before it becomes text (`pass_context`, or constants would pass while compiling)."""
        budget = self.account()
        budget.step()
        if isinstance(value, str):
            budget.made(len(value))
        elif isinstance(value, list | tuple | dict):
            budget.made(budget.measure(value))
        elif not isinstance(value, int | float | Undefined) and value is not None:
            raise TemplateError(f"the chat template prints a {type(value).__name__}")
        return value

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """`+`, `*`, `**` and `%` on values of the template."""
        budget = self.account()
        budget.step()
        if operator == "%" and isinstance(left, str):
            return filters.formatted(budget, left, right)
        if operator == "+" and isinstance(left, str) and isinstance(right, str):
            budget.made(len(left) + len(right))
        elif operator == "+" and isinstance(left, list | tuple) and isinstance(right, list | tuple):
            budget.items(len(left) + len(right))
        elif not isinstance(left, int | float | Undefined) or not isinstance(right, int | float | Undefined):
            _repeated(budget, operator, left, right)
        else:
            _bounded_number(operator, left, right)
        return super().call_binop(context, operator, left, right)

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Every call of a template: a step, and for Python's own methods an allow-list with bounds."""
        budget = self.account()
        budget.step()
        if isinstance(obj, BuiltinMethodType):
            _check_method(budget, obj, args, kwargs)
        elif isinstance(obj, type) or getattr(obj, "__name__", "") == "changed":
            for arg in (*args, *kwargs.values()):
                if isinstance(arg, list | tuple | dict):
                    budget.measure(arg, text=False)
        budget.enter()
        try:
            return super().call(context, obj, *args, **kwargs)
        finally:
            budget.leave()

    def getitem(self, obj: Any, argument: Any) -> Any:
        """`obj[argument]`; a tuple as key would be hashed as a tree."""
        if isinstance(argument, tuple):
            raise TemplateError("the chat template uses a tuple as a key")
        return super().getitem(obj, argument)

    def unsafe_undefined(self, obj: Any, attribute: str) -> Undefined:
        """Reaching for a private attribute ends the rendering at once, used or not."""
        raise SecurityError(f"access to attribute {attribute!r} of {type(obj).__name__!r} object is unsafe")

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """`str.format` with bounded widths; `format_map` is refused."""
        inner = super().wrap_str_format(value)
        if inner is None:
            return None
        if value.__name__ == "format_map":
            raise SecurityError("format_map is not available")

        def run(*args: object, **kwargs: object) -> str:
            return self._format(value.__self__, inner, args, kwargs)

        return run

    def _format(
        self,
        pattern: str,
        inner: Callable[..., str],
        args: tuple[object, ...],
        kwargs: dict[str, object],
    ) -> str:
        budget = self.account()
        size = 0
        for literal, field, spec, _ in Formatter().parse(pattern):
            size += len(literal)
            if field is not None:
                if _WIDE.search(spec or ""):
                    raise TemplateError("the chat template formats with too large a width")
                size += 1000 + sum(budget.measure(arg) for arg in (*args, *kwargs.values()))
                budget.made(size)
        return inner(*args, **kwargs)

    # -- what the rewritten tree calls --------------------------------------------------------------------------------

    def ticked(self, values: Any) -> Ticked:
        """A loop's iterable."""
        return Ticked(values, self.account())

    def joined(self, *parts: object) -> str:
        """`a ~ b ~ c`."""
        return filters.joined(self.account(), "", parts)

    def compared(self, left: object, *rest: object) -> bool:
        """`left op right op right …` on values that may both be trees."""
        budget = self.account()
        for op, right in zip(rest[::2], rest[1::2], strict=True):
            if isinstance(left, list | tuple | dict) and isinstance(right, list | tuple | dict):
                budget.measure(left, text=False)
                budget.measure(right, text=False)
            if not _COMPARE[str(op)](left, right):
                return False
            left = right
        return True

    def keyed(self, keys: list[object], values: list[object]) -> dict[object, object]:
        """A dict literal with computed keys."""
        if any(isinstance(key, tuple) for key in keys):
            raise TemplateError("the chat template uses a tuple as a key")
        return dict(zip(keys, values, strict=True))

    def _range(self, *args: int) -> range:
        values = range(*args)
        self.account().items(len(values))
        return values


def _raise_exception(message: object) -> None:
    """What templates call to refuse messages."""
    raise TemplateRefused(str(message)[:500])


def _strftime_now(pattern: str) -> str:
    """The local time; widths are not for templates."""
    if len(pattern) > 64 or any(c.isdigit() for c in pattern):
        raise TemplateError("the chat template asks for a strange date format")
    return datetime.now().strftime(pattern)


def _repeated(budget: Budget, operator: str, left: object, right: object) -> None:
    """`*` on text and lists."""
    if operator != "*":
        return
    many, times = (left, right) if isinstance(right, int) else (right, left)
    if isinstance(many, str) and isinstance(times, int):
        budget.made(len(many) * max(0, times))
    elif isinstance(many, list | tuple) and isinstance(times, int):
        budget.items(len(many) * max(0, times))


def _bounded_number(operator: str, left: object, right: object) -> None:
    """Whole numbers stay below `_MAX_INT_BITS`."""
    if not isinstance(left, int) or not isinstance(right, int):
        return
    bits = left.bit_length() * max(1, right) if operator == "**" else left.bit_length() + right.bit_length()
    if bits > _MAX_INT_BITS:
        raise TemplateError("the chat template computes too large a number")


def _check_method(
    budget: Budget,
    method: BuiltinMethodType,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> None:
    """Raises unless this method of a plain value is allowed with these arguments."""
    owner, name = method.__self__, method.__name__
    if isinstance(owner, str):
        if name not in _STR_METHODS:
            raise SecurityError(f"the method {name!r} of a text is not available")
        _check_text_method(budget, owner, name, args, kwargs)
        return
    if not any(isinstance(owner, kind) and name in names for kind, names in _METHODS.items()):
        raise SecurityError(f"the method {name!r} of a {type(owner).__name__} is not available")
    for arg in args:
        if isinstance(arg, tuple | list | dict) and name in ("get", "count", "index"):
            budget.measure([arg, owner])


def _check_text_method(budget: Budget, owner: str, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Counts what the method is about to make."""
    if name in ("center", "ljust", "rjust", "zfill"):
        budget.made(max(len(owner), int(args[0])) if args else 0)
    elif name == "replace" and len(args) >= 2:
        count = int(args[2]) if len(args) > 2 else -1
        hits = owner.count(args[0]) if count < 0 else min(count, owner.count(args[0]))
        budget.made(max(0, len(owner) + hits * (len(args[1]) - len(args[0]))))
    elif name == "join" and args:
        pieces = args[0]
        if not isinstance(pieces, list | tuple | dict | str | KeysView | ValuesView):
            raise TemplateError(f"the chat template joins a {type(pieces).__name__}; use the join filter")
        budget.made(sum(len(piece) for piece in pieces if isinstance(piece, str)) + len(owner) * len(pieces))
    elif name in ("split", "rsplit"):
        glue = args[0] if args else kwargs.get("sep")
        budget.items(owner.count(glue) if glue else max(0, len(owner) - _MAX_SPLIT))
        budget.made(len(owner))
    elif name == "splitlines":
        budget.items(max(0, len(owner) - _MAX_SPLIT))
        budget.made(len(owner))
    else:
        budget.made(len(owner))
