"""Novita's lists, balance and probe, and vectors."""

import json

import pytest

from fakes.calls import drained, embed_call
from fakes.novitas import novita
from proxy.call import Target

pytestmark = pytest.mark.asyncio


async def test_lists_and_balance() -> None:
    async with novita() as (double, upstream):
        assert await upstream.balance() == "10.00 USD"
        double.balance = 0
        assert await upstream.balance() == "0 USD"
        assert "checkpoints" in upstream.shelves
        rows = await upstream.shelf("checkpoints", "dream")
        assert [row["id"] for row in rows] == ["dreamshaper_8_93211.safetensors"]


@pytest.mark.parametrize(
    ("model", "known"),
    [
        ("deepseek/deepseek-r1", True),
        ("dreamshaper_8_93211.safetensors", True),
        ("flux-1-schnell", True),
        ("minimax-speech-02-hd", True),
        ("nobody", False),
    ],
)
async def test_a_probe_knows_models_of_every_kind(model: str, known: bool) -> None:
    async with novita() as (_, upstream):
        assert ("none of" not in await upstream.probe(Target("up", model))) is known


@pytest.mark.parametrize("path", ["/openai/v1", "/v3/openai"])
async def test_embeddings(path: str) -> None:
    async with novita({"llm_path": path}) as (_, upstream):
        there = Target("up", "baai/bge-m3")
        call = embed_call(there, ["one", "two"], user="x")
        body = json.loads(await drained(await upstream.open(call, there)))
        assert len(body["data"]) == 2
        assert call.dropped == ["user"]
