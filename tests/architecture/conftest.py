"""The source as data: every module of the three rooms, parsed once."""

import ast
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("proxy", "routes", "adapters")


class Source(NamedTuple):
    """One module: its dotted name, its file relative to the repository, its text and tree, and what it imports."""

    module: str
    file: str
    text: str
    tree: ast.Module

    def imports(self) -> set[str]:
        """Dotted names, as written; `from a import b` is `a.b`. What is under TYPE_CHECKING counts."""
        found: set[str] = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found |= {f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names}
        return found


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def sources() -> list[Source]:
    found = []
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            file = path.relative_to(ROOT).as_posix()
            module = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            text = path.read_text(encoding="utf-8")
            found.append(Source(module, file, text, ast.parse(text)))
    assert len(found) > 100
    return found
