"""Embeddings over a real upstream: what goes out, splitting, order, both encodings, and answers that are none."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from adapters.openai_api.adapter import OpenAI, build
from adapters.options import OpenAIOptions
from fakes.evil import evil
from proxy.call import ANYBODY, Call, Dialect, Operation, Plan, Target, Usage, UsageSource
from proxy.catalogue import Model
from proxy.errors import Fault, UpstreamError
from proxy.features import NONE
from proxy.mock import MockServer, Script
from proxy.wire.body import encode, fields_of, head_of
from proxy.wire.embeddings import EmbeddingsRequest

TARGET = Target("up", "theirs")


@pytest_asyncio.fixture
async def mock() -> AsyncIterator[MockServer]:
    async with evil(embedding_models=("*",)) as running:
        yield running


@pytest_asyncio.fixture
async def adapter(mock: MockServer) -> AsyncIterator[OpenAI]:
    made = build("up", OpenAIOptions(base_url=mock.url, api_key="k", max_batch=3))
    yield made
    await made.aclose()


def call_of(operation: Operation, type_: type[Any], **body: Any) -> Call:
    raw = encode({"model": "ours", **body})
    call = Call(
        id="req_1",
        operation=operation,
        dialect=Dialect.OPENAI,
        request=head_of(raw, type_),
        raw=raw,
        fields=fields_of(raw),
        principal=ANYBODY,
    )
    call.plan = Plan(Model(id="ours", type="embedding", name="ours", targets=(TARGET,)), (TARGET,), "ours", "id", NONE)
    return call


def embedding(**body: Any) -> Call:
    return call_of(Operation.EMBEDDINGS, EmbeddingsRequest, **body)


async def body_of(adapter: OpenAI, call: Call) -> dict[str, Any]:
    reply = await adapter.open(call, TARGET)
    found: dict[str, Any] = json.loads(await reply.next())
    reply.close()
    return found


@pytest.mark.asyncio
async def test_a_batch_is_split_and_comes_back_in_order(mock: MockServer, adapter: OpenAI) -> None:
    texts = [f"text {n}" for n in range(7)]
    call = embedding(input=texts, dimensions=4, user="me")
    many = await body_of(adapter, call)
    asked = [exchange.json() for exchange in mock.exchanges]
    assert len(asked[0]["input"]) == 3
    assert sorted(len(a["input"]) for a in asked[1:]) == [1, 3], "side by side: they come as they come"
    assert all((a["model"], a["dimensions"], a["user"]) == ("theirs", 4, "me") for a in asked)
    assert [item["index"] for item in many["data"]] == list(range(7))
    alone = await body_of(adapter, embedding(input=texts[4], dimensions=4))
    assert many["data"][4]["embedding"] == alone["data"][0]["embedding"]
    assert many["model"] == "ours"
    assert many["usage"]["prompt_tokens"] == 14


@pytest.mark.asyncio
async def test_a_batch_is_split_by_its_tokens_too(mock: MockServer) -> None:
    made = build("up", OpenAIOptions(base_url=mock.url, api_key="k", max_batch_tokens=5))
    got = await body_of(made, embedding(input=[[1, 2, 3], [4, 5], [6], [7] * 9, [8]]))
    await made.aclose()
    first, *others = [exchange.json()["input"] for exchange in mock.exchanges]
    assert first == [[1, 2, 3], [4, 5]]
    assert sorted(others) == [[[6]], [[7] * 9], [[8]]], "side by side: they come as they come"
    assert len(got["data"]) == 5


@pytest.mark.asyncio
async def test_who_does_not_count_is_counted_for(mock: MockServer, adapter: OpenAI) -> None:
    """Never a zero that nobody counted."""
    data = [shaped([1.0], n) for n in range(2)]
    mock.script(Script(body=json.dumps({"object": "list", "data": data})))
    reply = await adapter.open(embedding(input=[[1, 2, 3], [4]]), TARGET)
    assert reply.usage == Usage(prompt_tokens=4, source=UsageSource.TOKENIZER)
    assert json.loads(await reply.next())["usage"] == {"prompt_tokens": 4, "total_tokens": 4}
    mock.script(Script(body=json.dumps({"object": "list", "data": data, "usage": {"prompt_tokens": 0}})))
    reply = await adapter.open(embedding(input=["one two three", "four"]), TARGET)
    assert reply.usage is not None
    assert reply.usage.prompt_tokens >= 4
    assert reply.usage.source is not UsageSource.UPSTREAM


@pytest.mark.asyncio
async def test_parts_go_side_by_side_once_the_first_was_taken(mock: MockServer) -> None:
    """In order all the same; a refusal of the first leaves others to try, a later one does not."""
    made = build("up", OpenAIOptions(base_url=mock.url, api_key="k", max_batch=1))
    got = await body_of(made, embedding(input=[[n] for n in range(9)], dimensions=4))
    alone = [await body_of(made, embedding(input=[[n]], dimensions=4)) for n in range(9)]
    assert [row["embedding"] for row in got["data"]] == [one["data"][0]["embedding"] for one in alone]
    mock.script(Script(status=503, body='{"error": {"message": "busy"}}'))
    with pytest.raises(UpstreamError) as caught:
        await made.open(embedding(input=["a", "b"]), TARGET)
    assert caught.value.accepted is False
    await made.aclose()


@pytest.mark.asyncio
async def test_usage_is_booked(adapter: OpenAI) -> None:
    reply = await adapter.open(embedding(input=["a b", "c"]), TARGET)
    assert reply.usage is not None
    assert reply.usage.prompt_tokens == 3
    reply.close()


def shaped(vector: Any, index: int = 0) -> dict[str, Any]:
    return {"object": "embedding", "index": index, "embedding": vector}


@pytest.mark.asyncio
async def test_the_encoding_is_the_one_asked_for_whatever_comes(mock: MockServer, adapter: OpenAI) -> None:
    """Upstreams that ignore `encoding_format`, and upstreams that number their items in another order."""
    answer = {"object": "list", "data": [shaped([2.0], 1), shaped([1.0], 0)], "model": "x", "usage": None}
    mock.script(Script(body=json.dumps(answer)))
    got = await body_of(adapter, embedding(input=["a", "b"], encoding_format="base64"))
    assert [item["embedding"] for item in got["data"]] == ["AACAPw==", "AAAAQA=="]
    mock.script(Script(body=json.dumps({**answer, "data": [shaped("AACAPw==")]})))
    got = await body_of(adapter, embedding(input="a", encoding_format="float"))
    assert got["data"][0]["embedding"] == [1.0]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "data",
    [
        [],
        [shaped([1.0]), shaped([1.0], 1)],
        [shaped([1.0], 5)],
        [shaped("not base64")],
        [shaped([])],
        [shaped(["x"])],
        7,
    ],
)
async def test_what_is_no_answer_is_told(mock: MockServer, adapter: OpenAI, data: Any) -> None:
    mock.script(Script(body=json.dumps({"object": "list", "data": data})))
    with pytest.raises(UpstreamError) as caught:
        await adapter.open(embedding(input="a"), TARGET)
    assert caught.value.fault is Fault.MALFORMED


@pytest.mark.asyncio
async def test_a_refusal_in_the_middle_is_not_tried_again(mock: MockServer, adapter: OpenAI) -> None:
    """What was answered before has been paid for."""
    good = {"object": "list", "data": [shaped([1.0], n) for n in range(3)]}
    mock.script(Script(body=json.dumps(good)), Script(status=503, body='{"error": {"message": "busy"}}'))
    with pytest.raises(UpstreamError) as caught:
        await adapter.open(embedding(input=["a"] * 4), TARGET)
    assert caught.value.accepted is True
