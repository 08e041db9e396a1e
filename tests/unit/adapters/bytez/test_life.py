"""Models that are loaded before they run."""

import asyncio
from typing import Any

import pytest

from fakes.bytezes import V1, bytez
from fakes.doubles import faults
from fakes.doubles.clockwork import Pace
from proxy.call import Target
from proxy.errors import Fault, UpstreamError

pytestmark = pytest.mark.asyncio
GPT = "openai-community/gpt2"
BARK = "suno/bark-small"
COLD = Pace(queue=0.0, first=0.0, token=0.0, image=0.0, cold=0.4)


async def run(upstream: Any, model: str = BARK) -> Any:
    return await upstream._loaded.run(model, "hello")


async def test_many_callers_cause_one_load() -> None:
    async with bytez(V1 | {"concurrency": 4, "expiration_s": 60}, pace=COLD) as (double, upstream):
        assert len(await asyncio.gather(*(run(upstream) for _ in range(4)))) == 4
        loads = double.seen("POST", "/model/load")
        assert [seen.json for seen in loads] == [{"model": BARK, "concurrency": 4, "expirationPeriodSeconds": 60}]
        await run(upstream)
        assert len(double.seen("POST", "/model/load")) == 1


async def test_a_model_that_runs_already_and_one_that_somebody_else_loads() -> None:
    async with bytez(V1, pace=COLD) as (double, upstream):
        await upstream._api.send("POST", "/model/load", {"model": BARK})
        assert await run(upstream)  # 429: it is loading
        upstream._life.gone(BARK)
        assert await run(upstream)  # 209: it runs
        assert len(double.seen("POST", "/model/load")) == 3


async def test_a_model_that_went_to_sleep_is_loaded_again_once() -> None:
    async with bytez(V1) as (double, upstream):
        await run(upstream)
        double.instances.clear()
        await run(upstream)
        assert len(double.seen("POST", "/model/load")) == 2
        refusal = faults.answer(400, {"error": f"Model {BARK} is not running"})
        double.script(refusal, refusal, path="/model/run")
        with pytest.raises(UpstreamError) as caught:
            await run(upstream)
        assert caught.value.accepted is False


async def test_a_load_goes_on_when_those_who_wait_have_left() -> None:
    async with bytez(V1, pace=COLD) as (double, upstream):
        waiting = asyncio.create_task(run(upstream))
        await double.arrived(1, "POST", "/model/status")
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert upstream.instance(Target("up", BARK)).state == "loading"
        assert await run(upstream)
        assert len(double.seen("POST", "/model/load")) == 1
        assert double.seen("POST", "/model/delete") == []


async def test_a_load_that_takes_too_long_says_when_to_ask_again() -> None:
    slow = Pace(queue=0.0, first=0.0, token=0.0, image=0.0, cold=30.0)
    from adapters.options import Timeout

    async with bytez(V1 | {"timeout": Timeout(total_s=0.5)}, pace=slow) as (_, upstream):
        with pytest.raises(UpstreamError) as caught:
            await run(upstream)
        assert (caught.value.fault, caught.value.accepted) == (Fault.OVERLOADED, False)
        assert caught.value.retry_after_s == 30


async def test_a_load_that_fails() -> None:
    async with bytez(V1) as (double, upstream):
        double.will(fails="out of memory")
        with pytest.raises(UpstreamError, match="out of memory") as caught:
            await run(upstream)
        assert (caught.value.fault, caught.value.accepted) == (Fault.SERVER, False)
        assert upstream.instance(Target("up", BARK)).state == "failed"


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (faults.answer(402, {"status": 402, "error": "Payment Required", "message": "no credits"}), Fault.BALANCE),
        (faults.answer(429, {"error": "You have run out of credits"}), Fault.BALANCE),
        (faults.answer(404, {"error": "Model does not exist"}), Fault.MISSING),
        (faults.answer(401, {"error": "Unauthorized"}), Fault.AUTH),
    ],
)
async def test_a_load_that_is_refused(fault: faults.Fault, kind: Fault) -> None:
    async with bytez(V1) as (double, upstream):
        double.script(fault, path="/model/load")
        with pytest.raises(UpstreamError) as caught:
            await run(upstream)
        assert (caught.value.fault, caught.value.accepted) == (kind, False)
        assert double.seen("POST", "/model/run") == []


async def test_an_administrator_loads_looks_and_unloads() -> None:
    async with bytez(V1, pace=COLD) as (_, upstream):
        there = Target("up", GPT)
        assert upstream.instance(there).state == "unloaded"
        assert not upstream.owns(there)
        assert (await upstream.load(there, concurrency=2, keep_s=90)).state == "loading"
        loaded = await upstream.load(there, wait=True)
        assert (loaded.state, loaded.concurrency, loaded.keep_s) == ("ready", 2, 90.0)
        assert [row.model for row in upstream.instances()] == [GPT]
        assert (await upstream.shelf("instances"))[0]["status"] == "RUNNING"
        assert (await upstream.unload(there)).state == "unloaded"
        assert await upstream.unload(there) is None
        assert upstream.instances() == []


async def test_an_error_in_a_200_is_one() -> None:
    async with bytez(V1) as (double, upstream):
        await run(upstream)
        double.will(error="CUDA out of memory")
        with pytest.raises(UpstreamError, match="CUDA") as caught:
            await run(upstream)
        assert caught.value.accepted is True
