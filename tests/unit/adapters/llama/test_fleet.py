"""Names of models → files; which files may be loaded; what is known of them unloaded."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from adapters.llama.demo import demo_model
from adapters.llama.fleet import Fleet, wishes_of
from adapters.options import LlamaOptions
from proxy.errors import ConfigError, Fault, UpstreamError


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def real(path: Path) -> Path:
    return path.resolve()


def size(path: Path) -> int:
    return path.stat().st_size


@pytest_asyncio.fixture
async def fleets() -> Any:
    made: list[Fleet] = []

    def make(**options: Any) -> Fleet:
        made.append(Fleet(LlamaOptions(**options)))
        return made[-1]

    yield make
    for fleet in made:
        await fleet.aclose()


def test_wishes() -> None:
    assert wishes_of(LlamaOptions()).threads is None, '"auto" is for the engine to decide'
    wishes = wishes_of(LlamaOptions(threads=3, kv_unified=False, host_cache="1MiB"))
    assert (wishes.threads, wishes.kv_unified, wishes.host_cache) == (3, False, 1 << 20)
    with pytest.raises(ConfigError) as caught:
        wishes_of(LlamaOptions(host_cache="lots"))
    assert caught.value.where == "host_cache"


@pytest.mark.asyncio
async def test_paths(fleets: Any, tiny_path: Path) -> None:
    fleet = fleets(models_dir=str(tiny_path.parent))
    assert fleet.path("demo") == demo_model()
    assert fleet.path(tiny_path.name) == fleet.path(str(tiny_path)) == real(tiny_path)
    with pytest.raises(UpstreamError) as caught:
        fleet.path("nowhere.gguf")
    assert (caught.value.fault, caught.value.accepted) == (Fault.MISSING, False)


@pytest.mark.asyncio
async def test_only_what_is_allowed_is_loaded(fleets: Any, tiny_path: Path) -> None:
    with pytest.raises(UpstreamError, match="allow_sha256"):
        await fleets(allow_sha256=("0" * 64,)).acquire(str(tiny_path))
    fleet = fleets(allow_sha256=(digest(tiny_path),), context_tokens=512, parallel=1, threads=1)
    hold = await fleet.acquire(str(tiny_path))
    assert fleet.facts(str(tiny_path))["state"] == "ready"
    assert [status.path for status in fleet.statuses()] == [str(real(tiny_path))]
    hold.release()


@pytest.mark.asyncio
async def test_facts_without_loading(fleets: Any, tiny_path: Path, tmp_path: Path) -> None:
    fleet = fleets()
    facts = fleet.facts(str(tiny_path))
    assert (facts["state"], facts["file_bytes"]) == ("unloaded", size(tiny_path))
    assert facts["context_tokens"] > 0
    assert fleet.facts("nowhere")["state"] == "missing"
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF and no more")
    assert "reason" in fleet.facts(str(broken))
    assert fleet.statuses() == []


@pytest.mark.asyncio
async def test_every_part_of_a_split_model_must_be_allowed(fleets: Any, tmp_path: Path) -> None:
    first, second = tmp_path / "m-00001-of-00002.gguf", tmp_path / "m-00002-of-00002.gguf"
    first.write_bytes(b"one")
    second.write_bytes(b"two")
    with pytest.raises(UpstreamError, match="m-00002-of-00002"):
        await fleets(allow_sha256=(digest(first),)).checked(str(first))
    both = fleets(allow_sha256=(digest(first), digest(second)))
    assert await both.checked(str(first)) == real(first)
    second.unlink()
    with pytest.raises(UpstreamError, match="cannot be read"):
        await both.checked(str(first))
    first.write_bytes(b"changed")
    with pytest.raises(UpstreamError, match="allow_sha256"):
        await both.checked(str(first))


@pytest.mark.asyncio
async def test_what_anybody_may_name(fleets: Any, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    (folder / "o" / "n").mkdir(parents=True)
    for path in (folder / "o/n/m.gguf", folder / "x-00001-of-00002.gguf", folder / "x-00002-of-00002.gguf"):
        path.write_bytes(b"")
    (folder / "secret.txt").write_bytes(b"")
    (tmp_path / "outside.gguf").write_bytes(b"")
    (folder / "link.gguf").symlink_to(tmp_path / "outside.gguf")
    fleet = fleets(models_dir=str(folder))
    assert [fleet.owns(name) for name in ("demo", "o/n/m.gguf", str(folder / "o/n/m.gguf"))] == [True] * 3
    for name in (
        "secret.txt",
        "../outside.gguf",
        str(tmp_path / "outside.gguf"),
        "link.gguf",
        "none.gguf",
        "/etc/passwd",
    ):
        assert not fleet.owns(name)
    for name in ("\0", "x" * 5000, "~nobody-here/x.gguf"):
        assert not fleet.owns(name)
    assert fleet.references() == ["demo", "link.gguf", "o/n/m.gguf", "x-00001-of-00002.gguf"]
    assert fleet.reference(fleet.path("o/n/m.gguf")) == "o/n/m.gguf"
    assert fleet.reference(demo_model()) == "demo"
    assert fleet.reference(real(tmp_path / "outside.gguf")) == str(real(tmp_path / "outside.gguf"))


@pytest.mark.asyncio
async def test_a_file_that_changes_is_read_again(fleets: Any, tiny_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"nothing")
    fleet = fleets()
    assert "reason" in fleet.facts(str(path))
    shutil.copy(tiny_path, path)
    assert fleet.facts(str(path))["architecture"] == "llama"
