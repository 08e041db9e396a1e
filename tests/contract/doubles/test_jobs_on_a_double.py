"""The job engine over real sockets: many jobs on an upstream that counts reads, and clients that leave."""

import asyncio
import time

import httpx
import pytest

from adapters.job_pace import Look, Phase
from adapters.jobs import Job, JobEngine
from fakes.doubles import faults
from fakes.doubles.clockwork import Pace
from fakes.doubles.vaikerai import VaikerDouble
from proxy.errors import Fault, UpstreamError

PHASES = {"starting": Phase.QUEUED, "processing": Phase.RUNNING, "succeeded": Phase.DONE, "canceled": Phase.CANCELED}


class Caller:
    """As much of an adapter as the engine needs: create, read, cancel."""

    def __init__(self, double: VaikerDouble, client: httpx.AsyncClient, engine: JobEngine) -> None:
        self.double, self.client, self.engine = double, client, engine
        self.refused = 0
        self.overs = 0
        self.nothing_left = asyncio.Event()

    async def start(self, *, deadline_s: float = 30.0, cancels: bool = True) -> tuple[str, Job]:
        made = await self.client.post(
            "/models/meta/meta-llama-3-70b-instruct/predictions", json={"input": {"prompt": "one two three"}}
        )
        identity = made.json()["id"]

        async def read() -> Look:
            try:
                got = await self.client.get(f"/predictions/{identity}")
            except httpx.TransportError as error:
                raise UpstreamError(Fault.CONNECT, str(error)) from error
            if got.status_code == 429:
                self.refused += 1
                raise UpstreamError(Fault.RATE_LIMITED, "429", upstream_status=429, retry_after_s=1)
            if got.status_code != 200:
                raise UpstreamError(Fault.SERVER, "not 200", upstream_status=got.status_code)
            body = got.json()
            return Look(PHASES[body["status"]], body, text="".join(body["output"] or ()))

        async def cancel() -> bool:
            return (await self.client.post(f"/predictions/{identity}/cancel")).status_code == 200

        def over() -> None:
            self.overs += 1
            if self.overs == self.double.created:
                self.nothing_left.set()

        job = self.engine.watch(identity, read, deadline_s=deadline_s, cancel=cancel if cancels else None, on_over=over)
        return identity, job


@pytest.mark.asyncio
async def test_two_hundred_jobs_provoke_no_429_and_wait_no_longer_than_an_interval() -> None:
    allowed = 400.0  # reads per second, an eighth of the time that 50 would take
    async with VaikerDouble(reads_per_min=allowed * 60, pace=Pace(queue=0.3, first=0.1, token=0.1)) as double:
        engine = JobEngine("double", reads_per_s=allowed)
        headers = {"authorization": f"Bearer {double.key}"}
        limits = httpx.Limits(max_connections=32)
        async with httpx.AsyncClient(
            base_url=double.base_url, headers=headers, trust_env=False, limits=limits
        ) as client:
            caller = Caller(double, client, engine)
            started = [await caller.start() for _ in range(200)]
            late: list[float] = []

            async def wait(identity: str, job: Job) -> None:
                look = await job.result()
                assert look.text == "You said: one two three"
                finished = double.jobs[identity].timeline.marks[-1]
                late.append(time.monotonic() - finished)

            await asyncio.gather(*(wait(i, job) for i, job in started))
        await engine.aclose()
    assert (caller.refused, caller.overs, double.created) == (0, 200, 200)
    reads = double.seen("GET", "/predictions/")
    pace = min(allowed / 2, len(reads) / (reads[-1].at - reads[0].at))  # a busy machine may manage less
    assert pace >= allowed / 8, "what is allowed is used"
    assert sorted(late)[190] <= 200 / pace + 0.3


@pytest.mark.asyncio
async def test_a_client_that_leaves_cancels_within_a_tenth_of_a_second() -> None:
    async with VaikerDouble(pace=Pace(token=5)) as double:
        engine = JobEngine("double", reads_per_s=50)
        headers = {"authorization": f"Bearer {double.key}"}
        async with httpx.AsyncClient(base_url=double.base_url, headers=headers, trust_env=False) as client:
            caller = Caller(double, client, engine)
            _, job = await caller.start()
            await job.next()
            left = time.monotonic()
            job.leave()
            cancelled = (await double.arrived(1, "POST", "/cancel$"))[0]
            assert cancelled.at - left < 0.1
            await asyncio.wait_for(caller.nothing_left.wait(), 2)
            assert (caller.overs, double.cancelled, double.created) == (1, 1, 1)
        await engine.aclose()


@pytest.mark.asyncio
async def test_failed_reads_on_the_way_change_nothing() -> None:
    async with VaikerDouble(pace=Pace.quick()) as double:
        engine = JobEngine("double", reads_per_s=50)
        headers = {"authorization": f"Bearer {double.key}"}
        async with httpx.AsyncClient(base_url=double.base_url, headers=headers, trust_env=False) as client:
            caller = Caller(double, client, engine)
            double.script(faults.reset(), faults.html_502(), method="GET")
            _, job = await caller.start()
            assert (await job.result()).text == "You said: one two three"
            assert len(double.seen("GET", "/predictions/")) == 3
        await engine.aclose()
