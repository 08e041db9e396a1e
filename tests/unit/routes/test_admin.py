"""Models in memory: named, loaded, told, unloaded; and what cannot be."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fakes.asked import inbound
from fakes.houses import desk
from proxy.errors import BadRequest, ModelUnknown, NotFound, UpstreamError
from routes import admin

TOML = """
[upstreams.local]
kind = "llama"
threads = 1
context_tokens = 512
parallel = 2
models_dir = "{folder}"
[upstreams.near]
kind = "echo"
[models.small]
targets = [{{upstream = "near", model = "p"}}, {{upstream = "local", model = "demo", priority = 1}}]
[models.vectors]
type = "embedding"
targets = [{{upstream = "local", model = "demo"}}]
[models.parrot]
targets = [{{upstream = "near", model = "p"}}]
"""


def broken(path: Path) -> Path:
    path.write_bytes(b"root:x:0:0:root:/root:/bin/sh")
    return path


@pytest_asyncio.fixture
async def here(tmp_path: Path) -> AsyncIterator[Any]:
    made = desk(TOML.format(folder=tmp_path))
    yield made
    await made.house.adapters["local"].aclose()


@pytest.mark.asyncio
async def test_from_load_to_delete(here: Any) -> None:
    stopped = (await admin.status(inbound({"model": "small"}), here)).body
    assert (stopped["status"], stopped["expiresAt"], stopped["concurrency"]) == ("STOPPED", None, None)
    asked = {"model": "small", "concurrency": 3, "expirationPeriodSeconds": 300, "wait": True}
    loaded = (await admin.load(inbound(asked), here)).body
    assert (loaded["model"], loaded["status"], loaded["concurrency"], loaded["inferences"]) == (
        "small",
        "RUNNING",
        3,
        0,
    )
    assert (loaded["expirationPeriodSeconds"], loaded["expirationPeriodMinutes"]) == (300, 5)
    assert loaded["created"] < loaded["expiresAt"]
    assert loaded["memoryBytes"] > 1 << 20
    listed = (await admin.listed(inbound({}), here)).body["data"]
    assert [(row["model"], row["upstream"], row["progress"]) for row in listed] == [("small", "local", 1.0)]
    gone = (await admin.delete(inbound({"model": "local/demo", "wait": True}), here)).body
    assert gone["status"] == "STOPPED"
    assert (await admin.listed(inbound({}), here)).body["data"] == []
    with pytest.raises(NotFound, match="not loaded"):
        await admin.delete(inbound({"model": "small"}), here)


@pytest.mark.asyncio
async def test_it_answers_before_the_model_is_there(here: Any) -> None:
    started = (await admin.load(inbound({"model": "small", "concurrency": 2}), here)).body
    assert (started["status"], started["concurrency"], started["expirationPeriodSeconds"]) == ("started", 2, 1800)
    ready = (await admin.load(inbound({"model": "small", "wait": True, "expirationPeriodSeconds": -1}), here)).body
    assert (ready["status"], ready["expiresAt"], ready["expirationPeriodSeconds"]) == ("RUNNING", None, -1)
    leaving = (await admin.delete(inbound({"model": "small"}), here)).body
    assert leaving["status"] in ("STOPPING", "STOPPED")


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["parrot", "near/anything"])
async def test_what_has_no_instances(here: Any, name: str) -> None:
    for route in (admin.load, admin.status, admin.delete):
        with pytest.raises(BadRequest, match="kind 'echo'") as caught:
            await route(inbound({"model": name}), here)
        assert caught.value.param == "model"


@pytest.mark.asyncio
async def test_files_that_nobody_configured(here: Any, tmp_path: Path) -> None:
    """Below models_dir they may be named; elsewhere not even their being there is told."""
    outside = broken(tmp_path.parent / "outside.gguf")
    for name in ("local//etc/passwd", f"local/{outside}", "local/../outside.gguf", "local/none.gguf", "nowhere"):
        with pytest.raises(ModelUnknown):
            await admin.load(inbound({"model": name}), here)
    with pytest.raises(ModelUnknown, match="Did you mean 'small'"):
        await admin.status(inbound({"model": "smal"}), here)
    assert (await admin.status(inbound({"model": "vectors"}), here)).body["model"] == "vectors"
    inside = broken(tmp_path / "inside.gguf")
    with pytest.raises(UpstreamError, match="not a GGUF file"):
        await admin.load(inbound({"model": f"local/{inside.name}"}), here)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "model"),
        ({"model": ""}, "model"),
        ({"model": "small", "concurrency": 0}, "concurrency"),
        ({"model": "small", "concurrency": 1000}, "concurrency"),
        ({"model": "small", "expirationPeriodSeconds": 0}, "expirationPeriodSeconds"),
        ({"model": "small", "expirationPeriodSeconds": -2}, "expirationPeriodSeconds"),
        ({"model": "small", "speed": 1}, "speed"),
    ],
)
async def test_bad_bodies(here: Any, body: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        await admin.load(inbound(body), here)
    assert caught.value.param == param
