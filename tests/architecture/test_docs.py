"""What the code has, the documentation has: each key of the configuration with its default, each route, code and metric."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.options import KINDS, Options, Remote
from proxy.config import Closed, Config
from proxy.errors import FAULTS, TraghettoError
from proxy.metrics import Metrics
from routes import PREFIXES, TABLE

Rows = dict[str, str]


def structs(type_: Any) -> Iterator[type[msgspec.Struct]]:
    """The Structs that a type is made of."""
    if isinstance(type_, msgspec.inspect.StructType):
        yield type_.cls
    parts = [getattr(type_, name, None) for name in ("value_type", "item_type")]
    for part in [*parts, *getattr(type_, "types", ())]:
        if part is not None:
            yield from structs(part)


def shown(default: Any) -> str:
    """A default as the file would say it."""
    if default in (None, msgspec.NODEFAULT):
        return "none" if default is None else "required"
    if isinstance(default, (frozenset, tuple)):
        default = list(default)
    return f"`{json.dumps(default, ensure_ascii=False)}`"


def keys_of(struct: type[msgspec.Struct], inherited: type[msgspec.Struct] | None = None) -> Rows:
    """key → its default as text; "" where a table of its own tells."""
    known = {f.name: f for f in msgspec.structs.fields(inherited)} if inherited else {}
    rows = {}
    for field in msgspec.structs.fields(struct):
        default = field.default
        if field.default_factory is not msgspec.NODEFAULT:
            default = field.default_factory()
        if field.name in known and default in (known[field.name].default, known[field.name].default_factory):
            continue
        if field.name in known and field.default is msgspec.NODEFAULT:
            continue
        rows[field.encode_name] = "" if isinstance(default, (msgspec.Struct, dict)) else shown(default)
    return rows


def tables(text: str) -> dict[str, Rows]:
    """`## heading` → the rows of its table: key → default."""
    found: dict[str, Rows] = {}
    for part in re.split(r"^#+ ", text, flags=re.MULTILINE)[1:]:
        heading = part.split("\n", 1)[0].strip()
        rows = re.findall(r"^\| `([^`]+)` \| ([^|]*?) ?\|", part, flags=re.MULTILINE)
        found[heading] = dict(rows)
    return found


def wanted() -> dict[str, Rows]:
    """`## heading` → key → default, of the code."""
    found: dict[str, Rows] = {}
    todo: list[type[msgspec.Struct]] = [Config]
    while todo:
        struct = todo.pop()
        if struct is not Config:
            found[struct.__name__] = keys_of(struct)
        info = msgspec.inspect.type_info(struct)
        assert isinstance(info, msgspec.inspect.StructType)
        todo += [s for f in info.fields for s in structs(f.type) if issubclass(s, Closed) and s.__name__ not in found]
    found["Remote"] = keys_of(Remote)
    timeout = next(f.type for f in msgspec.structs.fields(Remote) if f.name == "timeout")
    found["Timeout"] = keys_of(timeout)
    for kind, options in KINDS.items():
        found[f'kind = "{kind}"'] = keys_of(options, Remote if issubclass(options, Remote) else Options)
    return found


def test_each_key_of_the_configuration_is_documented(root: Path) -> None:
    """In a table under a heading that ends with the Struct's name in parentheses, or with the kind."""
    documented = tables((root / "docs/configuration.md").read_text(encoding="utf-8"))
    wrong = []
    for name, rows in wanted().items():
        heading = next((h for h in documented if h.endswith((f"({name})", name))), None)
        if heading is None:
            wrong += [f"no section for {name}"] if rows else []
            continue
        wrong += [f"{heading}: {key} is missing" for key in rows.keys() - documented[heading].keys()]
        wrong += [f"{heading}: {key} is no key" for key in documented[heading].keys() - rows.keys()]
        wrong += [
            f"{heading}: the default of {key} is {default}"
            for key, default in rows.items()
            if default and documented[heading].get(key, default) != default
        ]
    assert wrong == []


def test_each_route_is_documented(root: Path) -> None:
    text = (root / "docs/api.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"`(GET|POST|DELETE|PUT|PATCH) ([^`\s]+)`", text))
    routes = {(route.method, re.sub(r":\w+\}", "}", route.path)) for route in TABLE}
    assert sorted(routes - documented) == []
    assert sorted(documented - routes) == []
    assert all(f"`{prefix}`" in text for prefix in PREFIXES)


def descendants(of: type) -> Iterator[type[TraghettoError]]:
    for child in of.__subclasses__():
        yield child
        yield from descendants(child)


def test_each_error_code_is_documented_with_its_status(root: Path, sources: Any) -> None:
    documented = {
        (code, int(status))
        for code, status in re.findall(
            r"^\| `(\w+)` \| (\d{3}) \|", (root / "docs/errors.md").read_text(encoding="utf-8"), flags=re.MULTILINE
        )
    }
    ours = {(e.code, e.status) for e in descendants(TraghettoError) if e.__module__ == "proxy.errors"}
    ours -= {("internal_error", e.status) for e in descendants(TraghettoError) if e.__name__ in ("UpstreamError",)}
    ours |= {(code, status) for status, _, code, _ in FAULTS.values()}
    ours -= {("bad_configuration", 500)}  # ends the process; nobody is answered
    assert sorted(ours - documented | {("internal_error", 500)} - documented) == []
    codes = {code for code, _ in documented}
    raised = {
        keyword.value.value
        for source in sources
        if not source.module.startswith(("proxy.mock", "proxy.verify"))
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "code" and isinstance(keyword.value, ast.Constant) and isinstance(keyword.value.value, str)
    }
    assert sorted(raised - codes) == []


def test_each_metric_is_documented(root: Path) -> None:
    text = (root / "docs/operations.md").read_text(encoding="utf-8")
    assert [m.name for m in Metrics().registry.collect() if f"`{m.name}" not in text] == []


@pytest.mark.parametrize("name", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs"])
def test_links_between_documents_lead_somewhere(root: Path, name: str) -> None:
    files = sorted((root / name).rglob("*.md")) if (root / name).is_dir() else [root / name]
    assert files
    for file in files:
        for link in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", file.read_text(encoding="utf-8")):
            assert (file.parent / link).exists(), f"{file.name} links to {link}"


def test_decisions_are_short(root: Path) -> None:
    """At most 60 lines each, numbered without a gap."""
    files = sorted((root / "docs/adr").glob("[0-9]*.md"))
    assert [int(file.name[:4]) for file in files] == list(range(1, len(files) + 1))
    assert [file.name for file in files if file.read_text(encoding="utf-8").count("\n") > 60] == []
