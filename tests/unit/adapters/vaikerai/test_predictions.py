"""Predictions from their creation to their end."""

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from adapters.job_pace import Manner
from adapters.vaikerai.reference import Reference
from fakes.doubles import faults
from fakes.doubles.clockwork import Pace
from fakes.predictions import predicting
from proxy.errors import UpstreamError

HELLO = {"text": "you"}

pytestmark = pytest.mark.asyncio


def hello(double: Any) -> Reference:
    return Reference(double.models["vaikerai/hello-world"].version)


async def test_a_result() -> None:
    async with predicting() as (double, upstream):
        body = await upstream._predictions.result(hello(double), HELLO)
        assert body["output"] == "hello you"
        assert upstream._predictions._jobs == {}


async def test_a_creation_that_is_over_already_is_not_read_again() -> None:
    done = {"id": "p1", "status": "succeeded", "output": "at once"}
    async with predicting() as (double, upstream):
        double.script(faults.answer(201, done), path="/predictions$")
        assert (await upstream._predictions.result(hello(double), HELLO))["output"] == "at once"
        assert double.seen("GET", "/predictions/") == []
        assert upstream.engine.in_flight == 0


@pytest.mark.parametrize("answer", [{"status": "starting"}, {"id": "", "status": "starting"}, {"id": 5}])
async def test_a_creation_without_an_id(answer: dict[str, Any]) -> None:
    async with predicting() as (double, upstream):
        double.script(faults.answer(201, answer), path="/predictions$")
        with pytest.raises(UpstreamError, match="no id") as caught:
            await upstream._predictions.result(hello(double), HELLO)
        assert caught.value.accepted is True


async def test_a_report_wakes_who_waits_and_nobody_else() -> None:
    reports: dict[str, Any] = {"webhook_url": "https://gateway.example/webhooks/up", "webhook_secret": "whsec_c2VjcmV0"}
    async with predicting(reports, pace=Pace(queue=0.01, token=0.3)) as (double, upstream):
        began = time.monotonic()
        job, made = await upstream._predictions.start(hello(double), HELLO)
        assert job._manner is Manner.HINTED
        sent = double.seen("POST", "/predictions$")[0].json
        assert sent["webhook"] == reports["webhook_url"]
        assert sent["webhook_events_filter"] == ["completed"]
        waiting = asyncio.create_task(job.result())
        assert not upstream._predictions.news("somebody-elses")
        await asyncio.sleep(0.8)
        assert not waiting.done(), "polling is the safety net only"
        assert upstream._predictions.news(made["id"])
        assert (await waiting).text == "hello you"
        assert time.monotonic() - began < 5
        assert not upstream._predictions.news(made["id"]), "what is over is not opened again"


async def test_a_report_that_reaches_another_worker_is_passed_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TRAGHETTO_WORKERS", "2")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    reports: dict[str, Any] = {"webhook_url": "https://gateway.example/webhooks/up", "webhook_secret": "whsec_c2VjcmV0"}
    async with predicting(reports, pace=Pace.quick()) as (double, upstream), predicting(reports) as (_, another):
        job, made = await upstream._predictions.start(hello(double), HELLO)
        waiting = asyncio.create_task(job.result())
        await asyncio.sleep(0.2)
        assert not waiting.done()
        assert not another._predictions.news(made["id"]), "not its own"
        assert (await asyncio.wait_for(waiting, 2)).text == "hello you"
