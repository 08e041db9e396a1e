"""Residents as instances: loading in the background, and what is known of what failed or waits."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from adapters.llama.fleet import Fleet
from adapters.llama.instances import Instances
from adapters.options import LlamaOptions
from proxy.errors import Fault, UpstreamError
from proxy.ports import Instance

SMALL: dict[str, Any] = {"context_tokens": 512, "threads": 1, "parallel": 2}


@pytest_asyncio.fixture
async def make() -> AsyncIterator[Callable[..., Instances]]:
    made: list[Fleet] = []

    def build(**options: Any) -> Instances:
        made.append(Fleet(LlamaOptions(**(SMALL | options))))
        return Instances(made[-1])

    yield build
    for fleet in made:
        await fleet.aclose()


async def _becomes(instances: Instances, name: str, state: str) -> Instance:
    for _ in range(2000):
        if instances.one(name).state == state:
            return instances.one(name)
        await asyncio.sleep(0.005)
    raise AssertionError(f"{instances.one(name)} is never {state}")


def _cut_weights(path: Path, target: Path) -> Path:
    """A header that reads well, over tensors that llama.cpp will not have."""
    target.write_bytes(path.read_bytes().replace(b"blk.0.attn_q.weight", b"blk.0.attn_x.weight"))
    return target


@pytest.mark.asyncio
async def test_a_load_in_the_background_is_told_of(make: Callable[..., Instances], tiny_path: Path) -> None:
    instances = make()
    name = str(tiny_path)
    assert instances.one(name).state == "unloaded"
    begun = await instances.load(name, concurrency=3, keep_s=60, wait=False)
    assert (begun.state, begun.concurrency) == ("loading", 3)
    ready = await _becomes(instances, name, "ready")
    assert (ready.concurrency, ready.keep_s, ready.served) == (3, 60, 0)
    assert ready.context_tokens >= 512
    assert [instance.model for instance in instances.all(["demo", "nowhere", name])] == [name]
    assert [instance.model for instance in instances.all([])] == [str(tiny_path.resolve())]  # noqa: ASYNC240
    left = await instances.unload(name, wait=True)
    assert left is not None
    assert left.state == "unloaded"
    assert await instances.unload(name, wait=True) is None


@pytest.mark.asyncio
async def test_what_failed_is_remembered_until_it_works(
    make: Callable[..., Instances], tiny_path: Path, tmp_path: Path
) -> None:
    instances = make()
    bad = str(_cut_weights(tiny_path, tmp_path / "bad.gguf"))
    assert (await instances.load(bad, concurrency=None, keep_s=None, wait=False)).state == "loading"
    failed = await _becomes(instances, bad, "failed")
    assert "attn_q" in failed.reason
    assert instances.all([bad]) == []
    with pytest.raises(UpstreamError, match="attn_q") as caught:
        await instances.load(bad, concurrency=None, keep_s=None, wait=True)
    assert caught.value.fault is Fault.MALFORMED


@pytest.mark.asyncio
async def test_who_waits_for_a_place(make: Callable[..., Instances], tiny_path: Path, second_path: Path) -> None:
    instances = make(max_loaded=1, patience_s=0.01)
    hold = await instances._fleet.acquire(str(tiny_path))
    waiting = await instances.load(str(second_path), concurrency=None, keep_s=None, wait=False)
    assert waiting.state == "waiting"
    hold.release()
    await _becomes(instances, str(second_path), "ready")
    assert instances.one(str(tiny_path)).state == "unloaded"


@pytest.mark.asyncio
async def test_a_broken_header_fails_at_once(make: Callable[..., Instances], tmp_path: Path, tiny_path: Path) -> None:
    instances = make()
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(tiny_path.read_bytes()[:4000])  # noqa: ASYNC240
    with pytest.raises(UpstreamError, match="truncated"):
        await instances.load(str(cut), concurrency=None, keep_s=None, wait=False)
    with pytest.raises(UpstreamError, match="no model file"):
        await instances.load("nowhere.gguf", concurrency=None, keep_s=None, wait=False)
