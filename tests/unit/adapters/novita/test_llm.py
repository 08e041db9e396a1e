"""What goes out to Novita, and what its reasons mean."""

from collections.abc import AsyncIterator

import msgspec
import pytest
import pytest_asyncio

from adapters.novita.adapter import Novita, build
from adapters.options import NovitaOptions
from fakes.calls import chat_call, drained
from fakes.doubles.clockwork import Pace
from fakes.doubles.novita import NovitaDouble
from proxy.call import Target
from proxy.errors import Fault, UpstreamError

TARGET = Target("up", "deepseek/deepseek-r1")


@pytest_asyncio.fixture(loop_scope="function")
async def double() -> AsyncIterator[NovitaDouble]:
    async with NovitaDouble(pace=Pace.quick()) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="function", params=["/openai/v1", "/v3/openai"])
async def novita(double: NovitaDouble, request: pytest.FixtureRequest) -> AsyncIterator[Novita]:
    options = NovitaOptions(base_url=double.base_url, api_key=double.key, llm_path=request.param, default_max_tokens=77)
    made = build("up", options)
    yield made
    await made.aclose()


@pytest.mark.asyncio
async def test_a_limit_always_goes_out(double: NovitaDouble, novita: Novita) -> None:
    for body in ({}, {"max_completion_tokens": 5}, {"max_tokens": 6}):
        await novita.open(chat_call(TARGET, **body), TARGET)
    assert [s.json["max_tokens"] for s in double.seen("POST")] == [77, 5, 6]
    assert "max_completion_tokens" not in double.seen("POST")[1].json


@pytest.mark.asyncio
async def test_thinking_is_switched_off_or_parted_and_left_out(double: NovitaDouble, novita: Novita) -> None:
    double.will(think=["hm", " hm"], say=["yes"])
    call = chat_call(TARGET, stream=True, venice_parameters={"strip_thinking_response": True})
    body = await drained(await novita.open(call, TARGET))
    assert b"yes" in body
    assert b"hm" not in body
    await novita.open(chat_call(TARGET, venice_parameters={"disable_thinking": True}), TARGET)
    first, second = (s.json for s in double.seen("POST"))
    assert (first["separate_reasoning"], second["enable_thinking"]) == (True, False)


@pytest.mark.asyncio
async def test_a_top_k_that_means_no_limit_is_left_out(double: NovitaDouble, novita: Novita) -> None:
    call = chat_call(TARGET, top_k=-1)
    await novita.open(call, TARGET)
    assert "top_k" not in double.seen("POST")[0].json
    assert call.dropped == ["top_k"]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("reason", "fault", "status"),
    [
        ("NOT_ENOUGH_BALANCE", Fault.BALANCE, 403),
        ("INVALID_API_KEY", Fault.AUTH, 403),
        ("MISSING_API_KEY", Fault.AUTH, 400),
        ("ILLEGAL_PROMPT", Fault.POLICY, 400),
        ("MODEL_NOT_FOUND", Fault.MISSING, 404),
        ("TOKEN_LIMIT_EXCEEDED", Fault.RATE_LIMITED, 429),
        ("BILLING_FAILED", Fault.BALANCE, 500),
        ("INVALID_REQUEST_BODY", Fault.REFUSED, 400),
    ],
)
async def test_the_reason_counts_and_not_the_status(
    double: NovitaDouble, novita: Novita, reason: str, fault: Fault, status: int
) -> None:
    double.will(refuse=reason)
    with pytest.raises(UpstreamError) as caught:
        await novita.open(chat_call(TARGET), TARGET)
    assert (caught.value.fault, caught.value.upstream_status, caught.value.accepted) == (fault, status, False)


@pytest.mark.asyncio
async def test_usage_is_the_upstreams(novita: Novita) -> None:
    reply = await novita.open(chat_call(TARGET), TARGET)
    body = msgspec.json.decode(await reply.next())
    assert reply.usage is not None
    assert reply.usage.total_tokens == body["usage"]["total_tokens"] > 0


@pytest.mark.asyncio
async def test_probe_and_models(novita: Novita) -> None:
    assert await novita.probe(TARGET) == "reachable, 3 models"
    assert [row["id"] for row in await novita.models("QWEN")] == ["qwen/qwen2.5-vl-72b-instruct"]
