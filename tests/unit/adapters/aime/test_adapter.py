"""One AIME server: keys and sessions, jobs to their end, and what is left when the client is gone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from adapters.aime.adapter import Aime, JobTexts, build
from adapters.job_pace import Look, Phase
from adapters.options import AimeOptions
from fakes.calls import chat_call, drained
from fakes.doubles import faults
from fakes.doubles.aime import AimeDouble
from fakes.doubles.clockwork import Pace
from proxy.call import Target, UsageSource
from proxy.errors import BadRequest, Fault, UpstreamError

TARGET = Target("up", "lab_chat")


@asynccontextmanager
async def lab(options: dict[str, Any] | None = None, **more: Any) -> AsyncIterator[tuple[AimeDouble, Aime]]:
    async with AimeDouble(**{"pace": Pace.quick()} | more) as double:
        made = build("up", AimeOptions(**{"base_url": double.base_url, "api_key": double.key} | (options or {})))
        try:
            yield double, made
        finally:
            await made.aclose()


async def said(aime: Aime, **body: Any) -> str:
    reply = await aime.open(chat_call(TARGET, **body), TARGET)
    return str(msgspec.json.decode(await drained(reply))["choices"][0]["message"]["content"])


@pytest.mark.asyncio
async def test_usage_is_the_servers() -> None:
    async with lab() as (_, aime):
        reply = await aime.open(chat_call(TARGET), TARGET)
        assert reply.usage is not None
        assert (reply.usage.completion_tokens, reply.usage.source) == (3, UsageSource.UPSTREAM)
        assert aime.engine.in_flight == 0


@pytest.mark.asyncio
async def test_the_endpoint_is_described_once() -> None:
    async with lab() as (double, aime):
        await asyncio.gather(*(said(aime) for _ in range(3)))
        assert len(double.seen("GET", "/api/endpoints/")) == 1
        with pytest.raises(BadRequest, match="between 0 and 1"):
            await said(aime, temperature=1.5)
        assert double.created == 3


@pytest.mark.asyncio
async def test_a_login_and_a_session_that_expires() -> None:
    async with lab({"user": "lab"}) as (double, aime):
        await said(aime)
        await said(aime)
        assert len(double.seen("GET", "/login")) == 1
        assert not any(s.holds(double.key) for s in double.seen("POST", "lab_chat"))
        double.sessions.clear()
        await said(aime)
        assert len(double.seen("GET", "/login")) == 2
        assert double.created == 3


@pytest.mark.asyncio
async def test_a_login_that_fails_with_a_200() -> None:
    async with lab({"user": "somebody"}) as (_, aime):
        with pytest.raises(UpstreamError) as caught:
            await said(aime)
        assert caught.value.fault is Fault.AUTH


@pytest.mark.asyncio
async def test_a_worker_that_fails_and_a_job_that_lapses() -> None:
    async with lab() as (double, aime):
        for fate, fault in (({"fail": "CUDA out of memory"}, Fault.SERVER), ({"lapse": True}, Fault.TIMEOUT)):
            double.will(**fate)
            with pytest.raises(UpstreamError) as caught:
                await said(aime)
            assert (caught.value.fault, caught.value.accepted) == (fault, True)


class Looks:
    """A job whose looks are given."""

    def __init__(self, *looks: Look) -> None:
        self.looks = list(looks)

    async def next(self, known: Look | None = None) -> Look:
        return self.looks.pop(0)

    def leave(self) -> None:
        self.looks.clear()


def shown(text: str, percent: float = 50) -> Look:
    return Look(Phase.RUNNING, text=text, percent=percent)


async def texts_of(*looks: Look) -> list[str]:
    texts = JobTexts(Looks(*looks), "up", None)  # type: ignore[arg-type]
    out = []
    while text := await texts.read():
        out.append(text)
    return out


@pytest.mark.asyncio
async def test_text_that_is_rewritten_is_held_back_and_never_retracted() -> None:
    done = Look(Phase.DONE, {"text": "one two three"})
    assert await texts_of(shown("one"), shown("oni"), shown("one two"), done) == ["one", " two", " three"]
    with pytest.raises(UpstreamError) as caught:
        await texts_of(shown("one tow"), done)
    assert caught.value.fault is Fault.MALFORMED


@pytest.mark.asyncio
async def test_a_result_that_was_lost_is_made_up_for_only_by_the_whole_text() -> None:
    assert await texts_of(shown("one", 100), Look(Phase.DONE)) == ["one"]
    with pytest.raises(UpstreamError) as caught:
        await texts_of(shown("one", 50), Look(Phase.DONE))
    assert caught.value.fault is Fault.CUT


@pytest.mark.asyncio
async def test_a_client_that_leaves_abandons_the_job_until_it_ends() -> None:
    async with lab(manual=True) as (double, aime):
        task = asyncio.create_task(aime.open(chat_call(TARGET), TARGET))
        await double.arrived(1, "GET", "progress")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert (aime.engine.abandoned, aime.engine.in_flight, double.created) == (1, 1, 1)


@pytest.mark.asyncio
async def test_a_create_of_unknown_outcome_is_not_sent_twice() -> None:
    async with lab() as (double, aime):
        await said(aime)  # so that a connection is there to be reused
        double.script(faults.reset(accepted=True), method="POST")
        with pytest.raises(UpstreamError) as caught:
            await said(aime)
        assert caught.value.accepted is None
        assert double.created == 2


@pytest.mark.asyncio
async def test_probe_and_models() -> None:
    async with lab() as (_, aime):
        assert await aime.probe(TARGET) == "reachable, 4 endpoints"
        assert "no endpoint" in await aime.probe(Target("up", "nobody"))
        assert await aime.models("FLUX") == [{"id": "flux-dev"}]
    async with lab({"api_key": "wrong-key"}) as (_, aime):
        with pytest.raises(UpstreamError) as caught:
            await aime.probe()
        assert caught.value.fault is Fault.AUTH
