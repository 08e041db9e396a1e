"""What operators look into: every list of the API, read only."""

from typing import Any

import pytest

from adapters.vaikerai.shelves import SHELVES, models
from fakes.predictions import predicting
from proxy.errors import BadRequest, Fault, UpstreamError

pytestmark = pytest.mark.asyncio


async def ids(upstream: Any, name: str, of: str = "") -> list[object]:
    return [row["id"] for row in await upstream.shelf(name, of)]


async def test_models_page_by_page_and_found() -> None:
    async with predicting() as (double, upstream):
        everything = [row["id"] for row in await models(upstream._api)]
        assert len(everything) == len(double.models) > 5, "a page holds five"
        assert [row["id"] for row in await models(upstream._api, "hello")] == ["vaikerai/hello-world"]
        assert [s.path for s in double.seen("POST")] == ["/v1/models/search"]
    async with predicting(preset="replicate") as (double, upstream):
        assert [row["id"] for row in await models(upstream._api, "hello")] == ["vaikerai/hello-world"]
        assert [s.path for s in double.seen("QUERY")] == ["/v1/models"]


async def test_every_list() -> None:
    async with predicting() as (double, upstream):
        version = double.models["acme/prompt-only"].version
        assert upstream.shelves == tuple(SHELVES)
        assert "gpu-t4" in await ids(upstream, "hardware")
        assert await ids(upstream, "collections") == ["super-resolution"]
        assert await ids(upstream, "collections", "super-resolution") == ["nightmareai/real-esrgan"]
        assert await ids(upstream, "versions", "acme/prompt-only") == [f"acme/prompt-only:{version}"]
        assert "deployment:acme/my-llm" in await ids(upstream, "deployments")
        (row,) = await upstream.shelf("deployments", "acme/my-llm")
        assert (row["model"], row["hardware"], row["instances"]) == ("acme/prompt-only", "gpu-a40-large", "0-2")
        assert await ids(upstream, "trainings") == []
        await upstream._api.ask(
            "POST",
            f"/models/acme/prompt-only/versions/{version}/trainings",
            {"destination": "acme/speech", "input": {"a": 1}},
        )
        (training,) = await ids(upstream, "trainings")
        assert await ids(upstream, "trainings", str(training)) == [training]


async def test_what_is_not_there() -> None:
    async with predicting() as (_, upstream):
        with pytest.raises(BadRequest, match="OWNER/NAME"):
            await upstream.shelf("versions")
        for name, of in (("collections", "none"), ("deployments", "a/b"), ("trainings", "x"), ("versions", "a/b")):
            with pytest.raises(UpstreamError) as caught:
                await upstream.shelf(name, of)
            assert caught.value.fault is Fault.MISSING
