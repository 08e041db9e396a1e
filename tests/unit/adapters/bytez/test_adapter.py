"""What both interfaces say to operators."""

import pytest

from fakes.bytezes import V1, bytez
from fakes.calls import upscale_call
from fakes.hostile_images import picture
from proxy.call import Target
from proxy.errors import Fault, UpstreamError
from proxy.ports import HoldsModels

pytestmark = pytest.mark.asyncio
HERE = Target("up", "openai-community/gpt2")


async def test_v1_lists_models_and_probes() -> None:
    async with bytez(V1) as (_, upstream):
        assert (await upstream.probe(HERE)).startswith("reachable, ")
        assert "does not list" in await upstream.probe(Target("up", "nobody"))
        assert [row["id"] for row in await upstream.models("GPT2")] == ["openai-community/gpt2"]
        assert upstream.shelves == ("instances",)
        assert isinstance(upstream, HoldsModels)


async def test_v2_lists_tasks() -> None:
    async with bytez() as (_, upstream):
        assert upstream.shelves == ("tasks",)
        assert "text-to-image" in {row["id"] for row in await upstream.shelf("tasks")}
        assert not isinstance(upstream, HoldsModels)


async def test_what_v1_cannot_do_is_said() -> None:
    async with bytez(V1) as (_, upstream):
        with pytest.raises(UpstreamError) as caught:
            await upstream.open(upscale_call(HERE, picture("png", 260, 260)), HERE)
        assert caught.value.fault is Fault.UNSUPPORTED
