"""Grammars that force, or keep in form, the tool calls of each marker family.

Owns the shape of one call and of several per family, the union over the tools on offer, and the triggers of lazy
grammars. Refuses to know templates; the markers are those that the splitter reads. Invariants: every call names a tool
on offer; its arguments are an object valid for the tool's schema, or any object where a tool that is not strict has a
schema beyond us.
"""

import json
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from adapters.llama.grammar.document import Document
from adapters.llama.grammar.errors import UnsupportedSchema
from adapters.llama.grammar.flat import Schema
from adapters.llama.grammar.gbnf import Expr, Limits, Rules, alt, literal, optional, seq
from adapters.llama.grammar.response import Gbnf
from adapters.llama.grammar.schema import Compiler
from adapters.llama.grammar.values import Values
from adapters.llama.text.families import FAMILIES, Family

_MAX_CALLS = 16
_RECURSION = (8, 4, 2)
_CACHED = 128


def from_tools(
    tools: Sequence[dict[str, Any]],
    choice: Any,
    family: str,
    parallel: bool = True,
    limits: Limits | None = None,
) -> Gbnf | None:
    """The grammar for `tools` and `tool_choice` in OpenAI's shapes; None when nothing is to be forced.

    auto (or None): lazy, from the family's marker on. required, or {"function": {"name": …}}: from the first character.
    Raises UnsupportedSchema for a strict tool whose schema is beyond us, and for a choice that names no tool on offer.
    """
    functions = [_function(tool, f"tools[{at}]") for at, tool in enumerate(tools)]
    wanted, lazy = _chosen(choice, [function["name"] for function in functions])
    if not wanted:
        return None
    chosen = [function for function in functions if function["name"] in wanted]
    named = isinstance(choice, dict) and "function" in choice
    key = json.dumps(chosen, ensure_ascii=False)
    return _built(key, family, lazy, parallel and not named, limits or Limits())


def _function(tool: Any, where: str) -> dict[str, Any]:
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"]:
        raise UnsupportedSchema("function", where, "must be an object with a name")
    return {key: function[key] for key in ("name", "parameters", "strict") if function.get(key) is not None}


def _chosen(choice: Any, names: list[str]) -> tuple[set[str], bool]:
    """(the tools that may be called, whether the model may also answer in text)."""
    if choice in (None, "auto"):
        return set(names), True
    if choice == "none":
        return set(), True
    if choice == "required":
        return set(names), False
    if isinstance(choice, dict):
        allowed = choice.get("allowed_tools")
        if isinstance(allowed, dict):
            some = {_named(tool) for tool in allowed.get("tools", [])} & set(names)
            return some, allowed.get("mode") != "required"
        name = _named(choice)
        if name in names:
            return {name}, False
        raise UnsupportedSchema("tool_choice", "", f"there is no tool {name!r} among the tools on offer")
    raise UnsupportedSchema("tool_choice", "", "must be auto, none, required or a function")


def _named(choice: Any) -> str:
    function = choice.get("function") if isinstance(choice, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    return name if isinstance(name, str) else ""


@lru_cache(maxsize=_CACHED)
def _built(functions: str, family_name: str, lazy: bool, parallel: bool, limits: Limits) -> Gbnf:
    tools = json.loads(functions)
    family = FAMILIES[family_name]
    for recursion in _RECURSION:
        writer = _Writer(family, limits, recursion)
        try:
            text = writer.text(tools, parallel)
        except UnsupportedSchema as error:
            if "too large" in error.reason and recursion != _RECURSION[-1]:
                continue
            raise
        except RecursionError as error:
            raise UnsupportedSchema("parameters", "", "a schema is nested too deeply") from error
        return Gbnf(text, _triggers(family, [tool["name"] for tool in tools], parallel) if lazy else ())
    raise AssertionError("unreachable")


def _triggers(family: Family, names: list[str], parallel: bool) -> tuple[str, ...]:
    """Where a lazy grammar begins: at the marker, or for bare JSON where the answer begins as a call."""
    out = [f"({re.escape(family.open)})"] if family.open else []
    if family.bare:
        known = "|".join(re.escape(json.dumps(name, ensure_ascii=False)) for name in names)
        kind = '(?:"type"\\s*:\\s*"function"\\s*,\\s*)?' if family.name == "llama3" else ""
        out.append(f'\\A\\s*(\\{{\\s*{kind}"name"\\s*:\\s*(?:{known}))')
    if family.name == "generic" and parallel:
        out.append('\\A\\s*(\\{\\s*"tool_calls"\\s*:)')
    return tuple(out)


class _Writer:
    """One grammar."""

    def __init__(self, family: Family, limits: Limits, recursion: int) -> None:
        self._family = family
        self._limits = limits
        self._recursion = recursion
        self._rules = Rules(limits)
        self._values = Values(self._rules)

    def text(self, tools: list[dict[str, Any]], parallel: bool) -> str:
        """The grammar of one call, or with `parallel` of up to `_MAX_CALLS`."""
        shapes: dict[str, Callable[[list[dict[str, Any]], bool], Expr]] = {
            "hermes": self._hermes,
            "llama3": self._llama3,
            "mistral": self._mistral,
            "mistral_args": self._mistral_args,
            "generic": self._generic,
        }
        return self._rules.text(shapes[self._family.name](tools, parallel))

    def _hermes(self, tools: list[dict[str, Any]], parallel: bool) -> Expr:
        line = '"\\n"?'
        call = seq(literal(self._family.open), line, self._any_call(tools), line, literal(self._family.close))
        return self._several(self._rules.add(call, "call"), '"\\n"?', parallel)

    def _llama3(self, tools: list[dict[str, Any]], parallel: bool) -> Expr:
        kind = optional(seq(self._values.key("type"), literal('"function"'), self._values.comma()))
        call = self._any_call(tools, before=kind)
        return seq(optional(literal(self._family.open)), self._several(call, '";" " "?', parallel))

    def _mistral(self, tools: list[dict[str, Any]], parallel: bool) -> Expr:
        call_id = seq(self._values.comma(), self._values.key("id"), '"\\"" [A-Za-z0-9]{9} "\\""')
        call = self._any_call(tools, after=optional(self._rules.add(call_id)))
        calls = self._several(call, self._values.comma(), parallel)
        return seq(literal(self._family.open), '" "?', self._values.wrapped("[", calls, "]"))

    def _mistral_args(self, tools: list[dict[str, Any]], parallel: bool) -> Expr:
        marker = literal(self._family.open)
        calls = [seq(marker, literal(tool["name"]), '"[ARGS]"', self._arguments(tool)) for tool in tools]
        return self._several(self._rules.add(alt(calls), "call"), "", parallel)

    def _generic(self, tools: list[dict[str, Any]], parallel: bool) -> Expr:
        call = self._any_call(tools)
        if not parallel:
            return call
        calls = self._values.wrapped("[", self._several(call, self._values.comma(), parallel=True), "]")
        return alt([call, self._values.wrapped("{", seq(self._values.key("tool_calls"), calls), "}")])

    def _several(self, call: Expr, between: Expr, parallel: bool) -> Expr:
        if not parallel:
            return call
        more = self._rules.add(f"{between} {call}" if between else call, "more")
        return seq(call, self._rules.repeat(more, 0, _MAX_CALLS - 1))

    def _any_call(self, tools: list[dict[str, Any]], before: Expr = '""', after: Expr = '""') -> Expr:
        """One JSON object that calls one of the tools."""
        values = self._values
        calls = [
            seq(values.constant(tool["name"]), values.comma(), values.key(self._family.args_key), self._arguments(tool))
            for tool in tools
        ]
        which = self._rules.add(alt(calls), "which")
        return self._rules.add(values.wrapped("{", seq(before, values.key("name"), which, after), "}"), "call")

    def _arguments(self, tool: dict[str, Any]) -> Expr:
        schema = tool.get("parameters", {"type": "object", "additionalProperties": False})
        if isinstance(schema, dict) and schema.get("properties") == {} and "additionalProperties" not in schema:
            schema = {**schema, "additionalProperties": False}  # it says which arguments it takes: none
        try:
            return self._object(schema)
        except UnsupportedSchema as error:
            if tool.get("strict") is True or "too large" in error.reason:
                raise UnsupportedSchema(error.keyword, f"{tool['name']}: {error.path}", error.reason) from error
            return self._values.object()

    def _object(self, schema: Schema) -> Expr:
        compiler = Compiler(Document(schema, self._limits), self._rules, self._recursion)
        whole = {"type": "object"} if schema in (True, {}) else schema
        if isinstance(whole, dict) and "type" not in whole and "properties" in whole:
            whole = {**whole, "type": "object"}
        return compiler.root(whole)
