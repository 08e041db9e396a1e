"""Retry and fallback: which failures are tried again, where, how often, and what the health of a target hears of it."""

import asyncio
from typing import Any

import pytest

from proxy.call import ANYBODY, Call, Dialect, Operation, Plan, Target
from proxy.config import Breaker, Routing
from proxy.dispatch import Dispatcher
from proxy.errors import BadRequest, Fault, TraghettoError, Unavailable, UpstreamError
from proxy.health import Health, State

A, B, C = Target("a", "m"), Target("b", "m", 1), Target("c", "m", 2)


class Adapter:
    """Answers what was put in front, in order; the last again and again."""

    def __init__(self, *results: Any) -> None:
        self.results = list(results)
        self.asked = 0
        self.reached = asyncio.Event()

    async def open(self, call: Call, target: Target) -> Any:
        self.asked += 1
        self.reached.set()
        result = self.results.pop(0) if len(self.results) > 1 else self.results[0]
        if result is None:
            await asyncio.Event().wait()
        if isinstance(result, BaseException):
            raise result
        return result


class Bench:
    def __init__(self, *adapters: Adapter, retries: int = 2, failures: int = 5, **routing: Any) -> None:
        self.adapters: Any = dict(zip("abc", adapters, strict=False))
        self.health = Health(Breaker(failures=failures))
        self.slept: list[float] = []
        self.dispatcher = Dispatcher(self.adapters, Routing(retries=retries, **routing), self.health, self._sleep)
        self.call = Call(
            id="c",
            operation=Operation.CHAT,
            dialect=Dialect.OPENAI,
            request=None,
            raw=b"",
            fields={},
            principal=ANYBODY,
        )
        nothing: Any = None
        self.call.plan = Plan(nothing, (A, B, C)[: len(adapters)], "m", "id", nothing)

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    async def open(self) -> Any:
        return await self.dispatcher.open(self.call)

    @property
    def route(self) -> list[tuple[str, str]]:
        return [(attempt.target.upstream, attempt.reason) for attempt in self.call.attempts]


def error(
    status: int = 503, fault: Fault = Fault.SERVER, *, accepted: bool | None = False, **more: Any
) -> UpstreamError:
    return UpstreamError(fault, "no", accepted=accepted, upstream_status=status, **more)


@pytest.mark.asyncio
async def test_the_first_that_answers() -> None:
    bench = Bench(Adapter("good"), Adapter("other"))
    assert await bench.open() == "good"
    assert bench.route == [("a", "first")]
    assert bench.health.record(A).ttft_s is not None
    assert bench.call.attempts[0].ms is not None


@pytest.mark.asyncio
async def test_falls_back_at_once_and_says_why() -> None:
    bench = Bench(Adapter(error(503)), Adapter(error(0, Fault.CONNECT)), Adapter("good"))
    assert await bench.open() == "good"
    assert bench.route == [("a", "first"), ("b", "fallback:503"), ("c", "fallback:connect")]
    assert bench.slept == []


@pytest.mark.asyncio
async def test_retries_of_one_target_wait_longer_each_time() -> None:
    bench = Bench(Adapter(error(500), error(502), "good"))
    assert await bench.open() == "good"
    assert [reason for _, reason in bench.route] == ["first", "retry:500", "retry:502"]
    first, second = bench.slept
    assert 0.03 < first < 0.07
    assert 0.07 < second < 0.13


@pytest.mark.asyncio
async def test_a_target_behind_an_open_breaker_is_skipped_not_doubled() -> None:
    """a fails, b is closed off, c fails: the next try is a's again, after a pause."""
    bench = Bench(Adapter(error(), "good"), Adapter("never"), Adapter(error()))
    for _ in range(5):
        bench.health.failed(B)
    assert await bench.open() == "good"
    assert [upstream for upstream, _ in bench.route] == ["a", "c", "a"]
    assert len(bench.slept) == 1
    assert bench.adapters["b"].asked == 0


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "failure",
    [
        error(503, accepted=True),
        error(503, accepted=None),
        error(400, Fault.REFUSED),
        error(401, Fault.AUTH),
        error(0, Fault.CUT),
        BadRequest("no"),
        RuntimeError("a bug"),
    ],
)
async def test_not_tried_again(failure: Exception) -> None:
    bench = Bench(Adapter(failure), Adapter("other"))
    with pytest.raises(type(failure)):
        await bench.open()
    assert bench.route == [("a", "first")]
    if isinstance(failure, UpstreamError):
        assert failure.exhausted is False


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("failure", "routing"),
    [
        (error(418, Fault.REFUSED), {"retry_on": (418,)}),
        (error(0, Fault.TIMEOUT), {"retry_on": ("timeout",)}),
        (error(0, Fault.OVERLOADED), {"retry_on": ()}),
    ],
)
async def test_tried_again_as_configured(failure: Exception, routing: dict[str, Any]) -> None:
    assert await Bench(Adapter(failure), Adapter("other"), **routing).open() == "other"


@pytest.mark.asyncio
async def test_the_last_error_counts_when_tries_run_out() -> None:
    last = error(502)
    bench = Bench(Adapter(error(500)), Adapter(last), retries=1)
    with pytest.raises(UpstreamError) as caught:
        await bench.open()
    assert caught.value is last
    assert last.exhausted
    assert last.should_retry is False


@pytest.mark.asyncio
async def test_no_retries_configured() -> None:
    bench = Bench(Adapter(error(500)), Adapter("other"), retries=0)
    with pytest.raises(UpstreamError):
        await bench.open()


@pytest.mark.asyncio
async def test_retry_after_is_waited_for_if_it_is_short() -> None:
    limited = error(429, Fault.RATE_LIMITED, retry_after_s=2.0)
    bench = Bench(Adapter(limited, "good"))
    assert await bench.open() == "good"
    assert bench.slept == [2.0]
    patient = Bench(Adapter(error(429, Fault.RATE_LIMITED, retry_after_s=60.0), "good"))
    with pytest.raises(UpstreamError) as caught:
        await patient.open()
    assert caught.value.retry_after_s == 60
    assert patient.slept == []


@pytest.mark.asyncio
async def test_breakers_open_and_all_open_says_when() -> None:
    bench = Bench(Adapter(error(500)), retries=0, failures=2)
    for _ in range(2):
        with pytest.raises(UpstreamError):
            await bench.open()
    assert bench.health.record(A).state is State.OPEN
    with pytest.raises(Unavailable) as caught:
        await bench.open()
    assert caught.value.retry_after_s == pytest.approx(30, abs=1)
    assert bench.adapters["a"].asked == 2


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("failure", "counts"),
    [
        (error(500), 1),
        (error(0, Fault.TIMEOUT), 1),
        (error(401, Fault.AUTH), 1),
        (error(400, Fault.REFUSED), 0),
        (error(429, Fault.RATE_LIMITED), 0),
        (BadRequest("no"), 0),
    ],
)
async def test_only_what_the_target_is_to_blame_for_counts(failure: TraghettoError, counts: int) -> None:
    bench = Bench(Adapter(failure), retries=0)
    with pytest.raises(TraghettoError):
        await bench.open()
    assert bench.health.record(A).failures == counts
    assert bench.call.attempts[0].error == failure.code


@pytest.mark.asyncio
async def test_a_client_that_leaves_says_nothing_about_health() -> None:
    bench = Bench(Adapter(None), failures=1)
    task = asyncio.create_task(bench.open())
    await asyncio.wait_for(bench.adapters["a"].reached.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bench.health.record(A).failures == 0
    assert bench.health.enter(A)
