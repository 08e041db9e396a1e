"""Imports only go down, and each foreign library has its room."""

import sys
from typing import Any

OURS = ("proxy", "routes", "adapters")
# The composition root: the only modules of the core that may know the other two rooms.
ROOTS = ("proxy.app", "proxy.cli", "proxy.__main__")
# The stages; each knows the seams, none knows another. `pipeline` and `house` put them together.
STAGES = ("resolve", "admit", "dispatch", "account")
# What an adapter may know of the core: the seam, the words, and tools that own no call.
SEAM = {
    *("proxy.NAME", "proxy.__version__", "proxy.ports", "proxy.call", "proxy.errors", "proxy.config", "proxy.params"),
    *("proxy.stream", "proxy.wire", "proxy.tokens", "proxy.media", "proxy.log", "proxy.features", "proxy.cork"),
    "proxy.lane",
}
# Modules that everybody may import and that themselves import next to nothing.
GROUND = {"proxy.errors": set[str](), "proxy.config": {"proxy.errors"}, "proxy.stream": {"proxy.errors"}}

GUESTS = {
    "aiohttp": {"adapters._http"},
    "alembic": {"proxy.ledger", "proxy.keys"},
    "asyncpg": {"proxy.ledger", "proxy.keys"},
    "av": {"proxy.media"},
    "brotli": {"routes", "adapters._http", "proxy.mock"},
    "certifi": {"adapters._http"},
    "click": {"proxy.cli"},
    "espeakng_loader": {"adapters.offline"},
    "eth_account": {"proxy.keys"},
    "eth_utils": {"proxy.keys"},
    "httptools": {"adapters._http", "proxy.mock", "routes._http"},
    "httpx": {"adapters._http"},
    "httpx_aiohttp": {"adapters._http"},
    "jinja2": {"adapters.llama.chat"},
    "kokoro_onnx": {"adapters.offline"},
    "litestar": {"routes", "proxy.app"},
    "llama_cpp": {"adapters.llama"},
    "msgspec": {"proxy", "routes", "adapters"},
    "numpy": {"adapters.llama", "adapters.offline", "proxy.media"},
    "PIL": {"proxy.media", "adapters.offline"},
    "prometheus_client": {"proxy.metrics"},
    "redis": {"proxy.limits"},
    "rich": {"proxy.cli"},
    "sqlalchemy": {"proxy.ledger", "proxy.keys"},
    "structlog": {"proxy.log"},
    "tiktoken": {"proxy.tokens"},
    "uvicorn": {"proxy.cli"},
    "uvloop": {"proxy.cli", "proxy.mock"},
}


def within(name: str, rooms: "set[str] | tuple[str, ...]") -> bool:
    return any(name == room or name.startswith(room + ".") for room in rooms)


def test_the_core_knows_neither_routes_nor_adapters(sources: Any) -> None:
    wrong = [
        f"{source.module} imports {name}"
        for source in sources
        if within(source.module, ("proxy",)) and not within(source.module, ROOTS)
        for name in source.imports()
        if within(name, ("routes", "adapters"))
    ]
    assert wrong == []


def test_routes_know_the_core_only(sources: Any) -> None:
    wrong = [
        f"{source.module} imports {name}"
        for source in sources
        if within(source.module, ("routes",))
        for name in source.imports()
        if within(name, ("adapters", *ROOTS))
    ]
    assert wrong == []


def test_adapters_know_the_seam_only(sources: Any) -> None:
    wrong = [
        f"{source.module} imports {name}"
        for source in sources
        if within(source.module, ("adapters",))
        for name in source.imports()
        if within(name, ("proxy", "routes")) and not within(name, SEAM)
    ]
    assert wrong == []


def test_no_stage_knows_another(sources: Any) -> None:
    """Nor what puts them together."""
    stages = {f"proxy.{stage}" for stage in STAGES}
    above = stages | {"proxy.pipeline", "proxy.house"}
    by_name = {source.module: source for source in sources}
    assert stages <= set(by_name)
    wrong = [
        f"{stage} imports {name}"
        for stage in stages
        for name in by_name[stage].imports()
        if within(name, above - {stage})
    ]
    assert wrong == []


def test_the_ground_stands_on_nothing(sources: Any) -> None:
    by_name = {source.module: source for source in sources}
    for module, may in GROUND.items():
        ours = {name for name in by_name[module].imports() if within(name, OURS)}
        assert all(within(name, may) for name in ours), f"{module} imports {ours}"


def test_guests_stay_in_their_rooms(sources: Any) -> None:
    """A library that is not in GUESTS has no room yet: give it one, and a line in docs/adr/0006."""
    wrong = []
    for source in sources:
        for top in {name.split(".")[0] for name in source.imports()}:
            if top in OURS or top in sys.stdlib_module_names:
                continue
            if not within(source.module, GUESTS.get(top, set())):
                wrong.append(f"{source.module} imports {top}, whose rooms are {sorted(GUESTS.get(top, set()))}")
    assert wrong == []


def test_imports_are_absolute(sources: Any) -> None:
    assert [f"{s.module}: {name}" for s in sources for name in s.imports() if name.startswith(".")] == []
