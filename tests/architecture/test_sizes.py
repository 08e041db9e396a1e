"""A module ends before line 400, a function before its 60th, and takes seven parameters at most (self apart).

`ratchet.toml` lists what is larger. An entry is the exact present size: it has to be lowered with the code, is struck off
when it is no longer needed, and a new one is a decision that a reviewer sees.
"""

import ast
import tomllib
from pathlib import Path
from typing import Any

MODULE_LINES, FUNCTION_LINES, PARAMETERS = 400, 60, 7
MIGRATIONS = "/migrations/versions/"  # lists of tables and columns, written once and never changed
ENTRIES_AT_MOST = 2  # lower it when the ratchet loses an entry


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return sum(argument.arg not in ("self", "cls") for argument in named)


def too_large(sources: Any) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {"modules": {}, "functions": {}, "parameters": {}}
    for source in sources:
        lines = source.text.count("\n")
        if lines > MODULE_LINES:
            found["modules"][source.file] = lines
        for node in ast.walk(source.tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and MIGRATIONS not in source.file:
                name = f"{source.file}:{node.name}"
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES:
                    found["functions"][name] = lines
                if parameters(node) > PARAMETERS:
                    found["parameters"][name] = parameters(node)
    return found


def test_nothing_is_larger_than_it_may_be(sources: Any) -> None:
    allowed = tomllib.loads(Path(__file__).with_name("ratchet.toml").read_text(encoding="utf-8"))
    found = {kind: rows for kind, rows in too_large(sources).items() if rows}
    assert found == allowed
    assert sum(map(len, allowed.values())) <= ENTRIES_AT_MOST


def test_every_module_says_what_it_is(sources: Any) -> None:
    assert [source.file for source in sources if source.text.strip() and not ast.get_docstring(source.tree)] == []
