"""Tasks from their creation to their end, and what comes back when it is no task."""

import asyncio

import pytest

from fakes.doubles import faults
from fakes.doubles.clockwork import Pace
from fakes.novitas import novita
from proxy.errors import Fault, UpstreamError

pytestmark = pytest.mark.asyncio
PATH = "/v3/async/txt2img"
WISH = {
    "model_name": "dreamshaper_8_93211.safetensors", "prompt": "a boat", "width": 128, "height": 128, "image_num": 1,
    "steps": 5, "guidance_scale": 7.5, "sampler_name": "Euler a",
}  # fmt: skip
BODY = {"request": WISH}


@pytest.mark.parametrize("submit", ["flat", "wrapped"])
@pytest.mark.parametrize("ttl", ["int", "str", "zero"])
async def test_a_task_in_every_spelling(submit: str, ttl: str) -> None:
    async with novita(submit=submit, ttl=ttl) as (double, upstream):
        made = await upstream._tasks.result(PATH, BODY)
        assert made["images"][0]["image_url"].startswith(double.origin("files"))
        assert (double.created, upstream.engine.in_flight) == (1, 0)


async def test_a_failed_task_and_one_that_is_refused_with_status_200() -> None:
    async with novita() as (double, upstream):
        double.will(fail="GPU lost")
        with pytest.raises(UpstreamError, match="GPU lost"):
            await upstream._tasks.result(PATH, BODY)
        double.will(code=7)
        with pytest.raises(UpstreamError) as caught:
            await upstream._tasks.result(PATH, BODY)
        assert caught.value.accepted is False
        assert double.created == 1


async def test_leaving_abandons_and_keeps_the_slot() -> None:
    async with novita(pace=Pace(image=5.0)) as (double, upstream):
        waiting = asyncio.create_task(upstream._tasks.result(PATH, BODY))
        await double.arrived(1, "GET", "task-result")
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert (upstream.engine.in_flight, upstream.engine.abandoned) == (1, 1)


@pytest.mark.parametrize(
    ("fault", "accepted"),
    [
        (faults.html_502(), None),
        (faults.reset(accepted=True), None),
        (faults.answer(500, {"code": 500, "reason": "CREATE_TASK_FAILED", "message": "x"}), False),
        (faults.throttled(2.0), False),
        (faults.empty_200(), True),
    ],
)
async def test_whether_work_can_have_begun(fault: faults.Fault, accepted: bool | None) -> None:
    async with novita() as (double, upstream):
        double.script(fault, method="POST")
        with pytest.raises(UpstreamError) as caught:
            await upstream._tasks.result(PATH, BODY)
        assert caught.value.accepted is accepted
        if caught.value.fault is Fault.RATE_LIMITED:
            assert caught.value.retry_after_s == 2.0


async def test_reads_that_fail_do_not_fail_the_task() -> None:
    async with novita() as (double, upstream):
        double.script(faults.html_502(), faults.throttled(0.01), faults.garbage_json(), path="task-result")
        assert (await upstream._tasks.result(PATH, BODY))["images"]
