"""Embeddings by prediction: as many as texts, in their order, out of whatever shape a model gives."""

import json
from typing import Any

import pytest

from adapters.vaikerai.vectors import _wishes, rows_of
from fakes.calls import drained
from fakes.orders import embeddings_call
from fakes.predictions import predicting
from proxy.call import Target
from proxy.errors import Fault, NotSupported, UnsupportedParameter, UpstreamError

V = [0.5, -1, 2]
W = [1.0, 0.0, 0.25]


def embedder(double: Any, key: str = "acme/embedder") -> Target:
    return Target("up", f"{key}:{double.models[key].version}")


@pytest.mark.asyncio
async def test_several_texts_in_one_prediction() -> None:
    async with predicting() as (double, upstream):
        target = embedder(double)
        reply = await upstream.open(embeddings_call(target, input=["one", "two", "one"], user="u"), target)
        body = json.loads(await drained(reply))
        rows = [row["embedding"] for row in body["data"]]
        assert [row["index"] for row in body["data"]] == [0, 1, 2]
        assert (rows[0], len(rows[0])) == (rows[2], 8)
        assert rows[0] != rows[1]
        assert double.created == 1
        assert body["usage"]["prompt_tokens"] == reply.usage.prompt_tokens > 0


@pytest.mark.asyncio
async def test_too_few_vectors_are_no_answer() -> None:
    async with predicting() as (double, upstream):
        target = embedder(double)
        double.will(output=[V])
        with pytest.raises(UpstreamError, match="1 embeddings for 2 texts") as caught:
            await upstream.open(embeddings_call(target), target)
        assert (caught.value.fault, caught.value.accepted) == (Fault.MALFORMED, True)


@pytest.mark.asyncio
async def test_tokens_and_models_that_take_no_text() -> None:
    async with predicting() as (double, upstream):
        with pytest.raises(UnsupportedParameter, match="text input only"):
            await upstream.open(embeddings_call(embedder(double), input=[1, 2]), embedder(double))
        mute = embedder(double, "nightmareai/real-esrgan")
        with pytest.raises(NotSupported):
            await upstream.open(embeddings_call(mute), mute)
        assert double.created == 0


@pytest.mark.parametrize(
    ("schema", "wishes"),
    [
        ({"texts": {"type": "array"}}, [{"texts": ["a", "b"]}]),
        ({"texts": {"type": "string"}}, [{"texts": '["a","b"]'}]),
        ({"text": {"type": "string"}, "normalize": {}}, [{"text": "a"}, {"text": "b"}]),
        ({"input": {"type": "array"}}, [{"input": ["a", "b"]}]),
    ],
)
def test_wishes(schema: dict[str, Any], wishes: list[dict[str, Any]]) -> None:
    assert _wishes(["a", "b"], schema, "m") == wishes


def test_one_text_at_a_time_has_a_limit() -> None:
    with pytest.raises(UnsupportedParameter) as caught:
        _wishes(["a"] * 33, {"text": {"type": "string"}}, "m")
    assert caught.value.param == "input"


@pytest.mark.parametrize(
    ("output", "flat", "rows"),
    [
        ([V, W], False, [V, W]),
        (V, True, [V]),
        (V, False, []),
        ([{"embedding": V}, {"embedding": W}], False, [V, W]),
        ({"embeddings": [V, W]}, False, [V, W]),
        ({"embedding": V}, False, [V]),
        ({"output": {"vectors": [V]}}, False, [V]),
        (None, True, []),
        ("https://files/x.npy", True, []),
        ([], True, []),
        ([V, None], False, [V]),
        ([[True, False]], False, []),
    ],
)
def test_shapes(output: Any, flat: bool, rows: list[Any]) -> None:
    assert rows_of(output, flat=flat) == rows
