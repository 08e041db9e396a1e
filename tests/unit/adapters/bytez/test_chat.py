"""What goes out to Bytez, and stop sequences that are enforced here."""

from collections.abc import AsyncIterator

import msgspec
import pytest
import pytest_asyncio

from adapters.bytez.adapter import Bytez, build
from adapters.options import BytezOptions
from fakes.calls import chat_call, drained
from fakes.doubles import faults
from fakes.doubles.bytez import BytezDouble
from fakes.doubles.clockwork import Pace
from proxy.call import Target, UsageSource
from proxy.errors import Fault, UpstreamError

TARGET = Target("up", "Qwen/Qwen3-4B")


@pytest_asyncio.fixture(loop_scope="function")
async def double() -> AsyncIterator[BytezDouble]:
    async with BytezDouble(pace=Pace(first=0.005, token=0.01)) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="function")
async def bytez(double: BytezDouble) -> AsyncIterator[Bytez]:
    made = build("up", BytezOptions(base_url=double.base_url, api_key=double.key))
    yield made
    await made.aclose()


@pytest.mark.asyncio
async def test_only_what_it_takes_goes_out(double: BytezDouble, bytez: Bytez) -> None:
    call = chat_call(TARGET, temperature=0.5, top_p=0.9, seed=3, top_k=5, max_tokens=9)
    await bytez.open(call, TARGET)
    sent = double.seen("POST")[0]
    assert sorted(sent.json) == ["max_tokens", "messages", "model", "temperature", "top_p"]
    assert sent.headers["authorization"] == f"Key {double.key}"
    assert sorted(call.dropped) == ["seed", "top_k"]


@pytest.mark.asyncio
@pytest.mark.parametrize("stream", [False, True])
async def test_a_stop_sequence_ends_the_work(double: BytezDouble, bytez: Bytez, stream: bool) -> None:
    double.will(say=["a", " b", " ST", "OP", *(" x" for _ in range(500))])
    call = chat_call(TARGET, stop="STOP", stream=stream)
    reply = await bytez.open(call, TARGET)
    body = await drained(reply)
    assert b" x" not in body
    assert b"ST" not in body
    assert call.dropped == []
    assert reply.usage is not None
    assert reply.usage.source is not UsageSource.UPSTREAM
    assert await double.seen("POST")[0].over() == "client_closed"


@pytest.mark.asyncio
async def test_a_stop_sequence_that_never_comes(double: BytezDouble, bytez: Bytez) -> None:
    double.will(say=["a", " b", " ST"])
    reply = await bytez.open(chat_call(TARGET, stop=["STOP"]), TARGET)
    body = msgspec.json.decode(await reply.next())
    assert body["choices"][0]["message"]["content"] == "a b ST"
    assert reply.usage is not None
    assert (reply.usage.completion_tokens, reply.usage.source) == (3, UsageSource.UPSTREAM)


@pytest.mark.asyncio
@pytest.mark.parametrize("stop", [[], ["END"]])
async def test_an_error_in_a_200_is_one(double: BytezDouble, bytez: Bytez, stop: list[str]) -> None:
    double.will(error="CUDA out of memory")
    with pytest.raises(UpstreamError, match="CUDA") as caught:
        await bytez.open(chat_call(TARGET, stream=True, stop=stop), TARGET)
    assert (caught.value.fault, caught.value.accepted) == (Fault.SERVER, True)


@pytest.mark.asyncio
async def test_a_stream_that_is_cut_is_no_answer(double: BytezDouble, bytez: Bytez) -> None:
    for fault in (faults.without_last(3), faults.cut(600)):
        double.script(fault)
        with pytest.raises(UpstreamError) as caught:
            await drained(await bytez.open(chat_call(TARGET, stop=["END"], stream=True), TARGET))
        assert caught.value.fault is Fault.CUT


@pytest.mark.asyncio
async def test_when_a_place_is_free_again(double: BytezDouble, bytez: Bytez) -> None:
    double.script(faults.throttled(3))
    with pytest.raises(UpstreamError) as caught:
        await bytez.open(chat_call(TARGET), TARGET)
    assert (caught.value.fault, caught.value.retry_after_s) == (Fault.RATE_LIMITED, 3)


@pytest.mark.asyncio
async def test_probe_and_models(bytez: Bytez) -> None:
    assert (await bytez.probe(TARGET)).startswith("reachable, ")
    assert "does not list" in await bytez.probe(Target("up", "nobody"))
    assert [row["id"] for row in await bytez.models("qwen3")] == ["Qwen/Qwen3-4B"]
