"""The filters and tests that a chat template may use, each with a bound.

Owns the allow-list and the counted versions of those filters whose result can be larger than their input. Refuses
any other filter by not having it (a template that needs one does not compile, and says which). Invariant: nothing
here makes text that was not counted first.
"""

import json
import re
from collections.abc import Callable, Iterable
from functools import wraps
from types import GeneratorType
from typing import Any, cast

from jinja2 import Undefined
from jinja2.filters import FILTERS as DEFAULT_FILTERS
from jinja2.nodes import EvalContext
from jinja2.runtime import Context
from jinja2.tests import TESTS as DEFAULT_TESTS

from adapters.llama.chat.budget import Budget
from adapters.llama.chat.errors import TemplateError

Account = Callable[[], Budget]

_FREE = ("abs", "attr", "count", "d", "default", "first", "float", "int", "items", "last", "length",
         "map", "reject", "rejectattr", "reverse", "select", "selectattr")  # fmt: skip
_MEASURED = ("capitalize", "dictsort", "e", "escape", "groupby", "lower", "max", "min", "safe", "sort", "string",
             "striptags", "title", "trim", "truncate", "unique", "upper", "urlencode", "wordcount")  # fmt: skip
_WIDE = re.compile(r"\*|\d{4,}")
_MAX_INDENT = 64
_MAX_DIGITS = 20


def filters(account: Account) -> dict[str, Callable[..., Any]]:
    """The table of filters; `account` answers the budget of the running rendering."""
    table: dict[str, Callable[..., Any]] = {name: DEFAULT_FILTERS[name] for name in _FREE}
    table.update((name, _measured(DEFAULT_FILTERS[name], account)) for name in _MEASURED)
    table.update(_counted(account))
    return table


def tests(account: Account) -> dict[str, Callable[..., Any]]:
    """The table of tests; those that compare measure what they compare."""
    comparing = ("eq", "equalto", "==", "ne", "!=", "lt", "lessthan", "<", "le", "<=", "gt", "greaterthan", ">", "ge",
                 ">=", "in")  # fmt: skip
    table: dict[str, Callable[..., Any]] = {}
    table.update(cast("dict[str, Callable[..., Any]]", DEFAULT_TESTS))
    table.update((name, _compared(table[name], account)) for name in comparing)
    return table


def tojson(account: Account) -> Callable[..., str]:
    """The `tojson` of chat templates: no HTML escaping, characters as they are."""

    def render(
        value: object,
        ensure_ascii: bool = False,
        indent: int | None = None,
        separators: tuple[str, str] | None = None,
        sort_keys: bool = False,
    ) -> str:
        budget = account()
        if isinstance(value, Undefined):
            raise TemplateError("the chat template turns an undefined value into JSON")
        if isinstance(value, GeneratorType):
            value = budget.listed(value)
        if (indent is not None and not 0 <= int(indent) <= _MAX_INDENT) or len("".join(separators or ())) > _MAX_INDENT:
            raise TemplateError("the chat template asks for too wide an indentation")
        budget.made(budget.measure(value))
        text = json.dumps(
            value,
            ensure_ascii=bool(ensure_ascii),
            indent=indent,
            separators=separators,
            sort_keys=bool(sort_keys),
        )
        budget.made(len(text))
        return text

    return render


def formatted(budget: Budget, pattern: str, args: object) -> str:
    """`pattern % args` (one value, a tuple or a dict) without widths that would make it grow."""
    if any(_WIDE.search(spec) for spec in re.findall(r"%[^a-zA-Z%]*", pattern)):
        raise TemplateError("the chat template formats with too large a width")
    budget.made(len(pattern) * 8 + budget.measure(args) * 2)
    text = pattern % args
    budget.made(len(text))
    return text


def replaced(budget: Budget, text: str, old: str, new: str, count: int = -1) -> str:
    """`text.replace(old, new, count)`, counted first."""
    hits = text.count(old) if count < 0 else min(count, text.count(old))
    budget.made(max(0, len(text) + hits * (len(new) - len(old))))
    return text.replace(old, new, count)


def joined(budget: Budget, glue: str, values: Iterable[object]) -> str:
    """`glue.join(values)`; values that are not text are turned into it, measured."""
    pieces: list[str] = []
    total = 0
    for value in budget.ticked(values):
        piece = value if isinstance(value, str) else _text(budget, value)
        total += len(piece) + len(glue)
        budget.items(len(pieces))
        if total > budget.limits.max_chars:
            budget.made(total)
        pieces.append(piece)
    budget.made(total)
    return glue.join(pieces)


def _text(budget: Budget, value: object) -> str:
    budget.measure(value)
    return str(value)


def _known(budget: Budget, value: object) -> object:
    """An argument, measured if it is data; iterators become lists first."""
    if value is None or isinstance(value, Undefined | Context | EvalContext | int | float):
        return value
    if isinstance(value, str | list | tuple | dict):
        budget.measure(value)
        return value
    if hasattr(value, "__next__") or isinstance(value, range | type({}.items()) | type({}.keys()) | type({}.values())):
        value = budget.listed(cast("Iterable[object]", value))
        budget.measure(value)
        return value
    if hasattr(value, "overlay"):  # the environment itself, passed by Jinja to filters that ask for it
        return value
    raise TemplateError(f"the chat template filters a {type(value).__name__}")


def _measured(function: Callable[..., Any], account: Account) -> Callable[..., Any]:
    @wraps(function)
    def run(*args: object, **kwargs: object) -> object:
        budget = account()
        budget.step()
        result = function(*(_known(budget, arg) for arg in args), **kwargs)
        if isinstance(result, str):
            budget.made(len(result))
            return str(result)  # never Markup: it would escape what is added to it
        return result

    return run


def _compared(function: Callable[..., Any], account: Account) -> Callable[..., Any]:
    @wraps(function)
    def run(left: object, right: object) -> object:
        budget = account()
        if isinstance(left, list | tuple | dict):
            budget.measure(left, text=False)
        if isinstance(right, list | tuple | dict) and not isinstance(left, str | int | float):
            budget.measure(right, text=False)
        return function(left, right)

    return run


def _counted(account: Account) -> dict[str, Callable[..., Any]]:
    """The filters that are our own because Jinja's could grow without a bound."""
    own = (_list, _join, _replace, _indent, _format, _round, _sum)
    table: dict[str, Callable[..., Any]] = {function.__name__[1:]: _accounted(function, account) for function in own}
    return {**table, "tojson": tojson(account)}


def _accounted(function: Callable[..., Any], account: Account) -> Callable[..., Any]:
    """The filter with the running budget as its first argument."""

    def run(*args: object, **kwargs: object) -> object:
        return function(account(), *args, **kwargs)

    return run


def _list(budget: Budget, value: Iterable[object]) -> list[object]:
    return budget.listed(value)


def _join(budget: Budget, value: Iterable[object], d: str = "", attribute: str | None = None) -> str:
    if attribute is not None:
        value = [item.get(attribute, "") if isinstance(item, dict) else "" for item in budget.listed(value)]
    return joined(budget, str(d), value)


def _replace(budget: Budget, value: object, old: str, new: str, count: int | None = None) -> str:
    return replaced(budget, _text(budget, value), str(old), str(new), -1 if count is None else int(count))


def _indent(budget: Budget, value: str, width: int = 4, first: bool = False, blank: bool = False) -> str:
    if not isinstance(width, int) or not 0 <= width <= _MAX_INDENT:
        raise TemplateError("the chat template indents too far")
    text = _text(budget, value)
    budget.made(len(text) + (text.count("\n") + 1) * width)
    result: str = DEFAULT_FILTERS["indent"](text, width, first, blank)
    return result


def _format(budget: Budget, value: str, *args: object, **kwargs: object) -> str:
    return formatted(budget, str(value), kwargs or args)


def _round(_budget: Budget, value: float, precision: int = 0, method: str = "common") -> float:
    if not -_MAX_DIGITS <= int(precision) <= _MAX_DIGITS:
        raise TemplateError("the chat template rounds to too many digits")
    result: float = DEFAULT_FILTERS["round"](value, precision, method)
    return result


def _sum(budget: Budget, value: Iterable[object], attribute: str | None = None, start: float = 0) -> float:
    total = start
    for item in budget.ticked(value):
        number = item.get(attribute, 0) if attribute is not None and isinstance(item, dict) else item
        if not isinstance(number, int | float):
            raise TemplateError("the chat template sums what are no numbers")
        total += number
    return total
