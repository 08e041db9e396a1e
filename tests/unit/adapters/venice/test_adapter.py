"""What goes out to Venice, and what its refusals name."""

import json
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from adapters.options import VeniceOptions
from adapters.venice.adapter import Venice, build
from fakes.calls import chat_call, drained, embed_call
from fakes.doubles import faults
from fakes.doubles.clockwork import Pace
from fakes.doubles.venice import VeniceDouble
from proxy.call import Target
from proxy.errors import Fault, UpstreamError

TARGET = Target("up", "llama-3.3-70b")
THINKER = Target("up", "deepseek-r1-671b:strip_thinking_response=true")


@pytest_asyncio.fixture(loop_scope="function")
async def double() -> AsyncIterator[VeniceDouble]:
    async with VeniceDouble(pace=Pace.quick()) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="function")
async def venice(double: VeniceDouble) -> AsyncIterator[Venice]:
    made = build("up", VeniceOptions(base_url=double.base_url, api_key=double.key))
    yield made
    await made.aclose()


@pytest.mark.asyncio
async def test_features_of_suffix_and_body_go_out_together(double: VeniceDouble, venice: Venice) -> None:
    call = chat_call(
        TARGET,
        suffix={"enable_web_search": "on"},
        venice_parameters={"enable_web_citations": True, "character_slug": "alan-watts", "disable_thinking": True},
    )
    await venice.open(call, TARGET)
    assert double.seen("POST")[0].json["venice_parameters"] == {
        "enable_web_search": "on",
        "enable_web_citations": True,
        "character_slug": "alan-watts",
        "disable_thinking": True,
    }


@pytest.mark.asyncio
async def test_a_suffix_in_the_targets_name_is_kept(double: VeniceDouble, venice: Venice) -> None:
    double.will(think=["hm"], say=["yes"])
    reply = await venice.open(chat_call(THINKER), THINKER)
    assert double.seen("POST")[0].json["model"] == THINKER.model
    assert b"hm" not in await reply.next()


@pytest.mark.asyncio
async def test_what_its_closed_schema_refuses_stays_here(double: VeniceDouble, venice: Venice) -> None:
    tool = {"type": "function", "function": {"name": "f", "strict": True, "parameters": {"type": "object"}}}
    called = {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f"}}]}
    messages = [
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": "x"},
        called,
        {"role": "tool", "tool_call_id": "c", "content": "42"},
    ]
    call = chat_call(
        TARGET,
        messages=messages,
        tools=[tool],
        seed=-3,
        top_k=-1,
        logit_bias={"1": 2},
        user="u",
        response_format={"type": "text"},
    )
    await venice.open(call, TARGET)
    sent = double.seen("POST")[0].json
    assert sorted(sent) == ["messages", "model", "tools"]
    assert "strict" not in sent["tools"][0]["function"]
    assert [m["role"] for m in sent["messages"]] == ["system", "user", "assistant", "tool"]
    assert sent["messages"][2]["content"] is None
    assert {"seed", "top_k", "logit_bias", "user"} <= set(call.dropped)


@pytest.mark.asyncio
async def test_a_refusal_names_the_field_that_venice_means(double: VeniceDouble, venice: Venice) -> None:
    small = Target("up", "qwen-2.5-coder-32b")
    with pytest.raises(UpstreamError) as caught:
        await venice.open(chat_call(small, logprobs=True), small)
    assert (caught.value.fault, caught.value.param) == (Fault.REFUSED, "logprobs")
    assert "not supported by this model" in caught.value.message
    assert (caught.value.upstream_status, caught.value.accepted) == (400, False)


@pytest.mark.asyncio
async def test_probe_and_models(venice: Venice) -> None:
    assert await venice.probe(TARGET) == "reachable, 13 models"
    assert "does not list" in await venice.probe(Target("up", "nobody"))
    assert [row["id"] for row in await venice.models("coder")] == ["qwen-2.5-coder-32b"]


@pytest.mark.asyncio
async def test_its_other_lists_and_its_balance(double: VeniceDouble, venice: Venice) -> None:
    assert venice.shelves == ("traits", "mappings", "styles", "characters")
    assert {"id": "fastest", "model": "llama-3.2-3b"} in await venice.shelf("traits")
    assert await venice.shelf("traits", "image") == [
        {"id": "default", "model": "venice-sd35"},
        {"id": "highest_quality", "model": "flux-dev"},
    ]
    assert {"id": "gpt-4o", "model": "llama-3.3-70b"} in await venice.shelf("mappings")
    assert {"id": "Anime"} in await venice.shelf("styles")
    assert (await venice.shelf("characters"))[0]["id"] == "alan-watts"
    assert (await venice.balance()).endswith(" USD")


@pytest.mark.asyncio
@pytest.mark.parametrize("stream", [False, True])
async def test_a_chat_tells_news_of_its_model(double: VeniceDouble, venice: Venice, stream: bool) -> None:
    double.news = {"x-venice-model-deprecation-date": "2026-12-24T00:00:00.000Z"}
    reply = await venice.open(chat_call(TARGET, stream=stream), TARGET)
    assert reply.headers == [("sunset", "Thu, 24 Dec 2026 00:00:00 GMT")]
    reply.close()


@pytest.mark.asyncio
async def test_embeddings(double: VeniceDouble, venice: Venice) -> None:
    there = Target("up", "text-embedding-bge-m3")
    call = embed_call(there, ["one", "two"], dimensions=8, user="x", truncate="END")
    body = json.loads(await drained(await venice.open(call, there)))
    assert [len(row["embedding"]) for row in body["data"]] == [8, 8]
    assert body["model"] == "m"
    assert call.dropped == ["user", "truncate"]


@pytest.mark.asyncio
async def test_a_limit_says_when_it_ends(double: VeniceDouble, venice: Venice) -> None:
    resets = str(int(time.time()) + 7)
    headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": resets}
    double.script(faults.answer(429, {"error": "Rate limit exceeded"}, headers))
    with pytest.raises(UpstreamError) as caught:
        await venice.open(chat_call(TARGET), TARGET)
    assert caught.value.fault is Fault.RATE_LIMITED
    assert 5 < (caught.value.retry_after_s or 0) <= 8
