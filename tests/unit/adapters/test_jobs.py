"""The job engine on a clock of its own: schedule, share, lost jobs, deadlines, leaving. No test here waits for real time."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from adapters.job_pace import ABANDONED_S, Look, Manner, Phase
from adapters.jobs import Job, JobEngine
from proxy.errors import Fault, Unavailable, UpstreamError


class FakeClock:
    """Time that a test moves. `advance` stops at each moment somebody waits for and lets everybody run."""

    def __init__(self) -> None:
        self.t = 1000.0
        self.until: set[float] = set()
        self.tick = asyncio.Event()

    def now(self) -> float:
        return self.t

    async def wait(self, wake: asyncio.Event, until: float) -> None:
        self.until.add(until)
        tasks = [asyncio.create_task(wake.wait())]
        try:
            while self.t < until and not wake.is_set():
                tasks = [tasks[0], asyncio.create_task(self.tick.wait())]
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                tasks[1].cancel()
        finally:
            for task in tasks:
                task.cancel()
            self.until.discard(until)

    async def settle(self) -> None:
        for _ in range(12):
            await asyncio.sleep(0)

    async def advance(self, seconds: float) -> None:
        end = self.t + seconds
        await self.settle()
        while True:
            ahead = [u for u in self.until if self.t < u <= end]
            self.t = min(ahead, default=end)
            self.tick.set()
            self.tick = asyncio.Event()
            await self.settle()
            if self.t >= end:
                return


class Upstream:
    """A job upstream: remembers when it was read and answers what `script` says (a Look, an error, or a function)."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.reads: list[float] = []
        self.script: list[Look | Exception] = []
        self.always: Look | Exception = Look(Phase.RUNNING)
        self.cancels = 0
        self.cancel_answer: bool | Exception = True
        self.overs = 0

    async def poll(self) -> Look:
        self.reads.append(self.clock.t)
        answer = self.script.pop(0) if self.script else self.always
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def cancel(self) -> bool:
        self.cancels += 1
        if isinstance(self.cancel_answer, Exception):
            raise self.cancel_answer
        return self.cancel_answer

    def over(self) -> None:
        self.overs += 1

    @property
    def gaps(self) -> list[float]:
        return [round(b - a, 3) for a, b in zip(self.reads, self.reads[1:], strict=False)]


@asynccontextmanager
async def engine_on(clock: FakeClock, **more: object) -> AsyncIterator[JobEngine]:
    more.setdefault("chance", lambda: 0.5)
    engine = JobEngine("test", clock=clock, **more)  # type: ignore[arg-type]
    before = asyncio.all_tasks()
    try:
        yield engine
    finally:
        await engine.aclose()
        await clock.settle()
        assert asyncio.all_tasks() - before == set(), "the engine left tasks behind"
        assert engine.in_flight == 0


def run(body: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(body(), 20))  # type: ignore[arg-type]


def missing() -> UpstreamError:
    return UpstreamError(Fault.MISSING, "no such job", upstream_status=404)


def passing(fault: Fault = Fault.SERVER, **more: object) -> UpstreamError:
    return UpstreamError(fault, "hiccup", **more)  # type: ignore[arg-type]


def test_reads_follow_the_schedule_and_the_result_arrives() -> None:
    async def body() -> None:
        clock = FakeClock()
        async with engine_on(clock) as engine:
            up = Upstream(clock)
            up.script = (
                [Look(Phase.QUEUED, position=2)] * 2 + [Look(Phase.RUNNING, percent=10)] * 3 + [Look(Phase.DONE, "x")]
            )
            job = engine.watch("j", up.poll, deadline_s=60, on_over=up.over)
            result = asyncio.create_task(job.result())
            await clock.advance(20)
            assert (await result).body == "x"
            assert [round(t - 1000, 2) for t in up.reads] == [
                0.25,
                0.75,
                1.25,
                2.25,
                3.25,
                5.25,
            ]
            assert (up.overs, engine.in_flight, job.over) == (1, 0, True)

    run(body)


def test_a_waiter_sees_each_change_and_skips_what_it_missed() -> None:
    async def body() -> None:
        clock = FakeClock()
        async with engine_on(clock) as engine:
            up = Upstream(clock)
            first, second, last = (
                Look(Phase.QUEUED, position=1),
                Look(Phase.RUNNING, text="a"),
                Look(Phase.DONE, text="ab"),
            )
            up.script = [first, first, second, last]
            job = engine.watch("j", up.poll, deadline_s=60, manner=Manner.LIVE)
            await clock.advance(0.3)
            assert await job.next() is first
            waiting = asyncio.create_task(job.next(first))
            await clock.advance(0.6)
            assert not waiting.done()  # the same look again is no news
            await clock.advance(10)
            assert (await waiting).text == "a"
            assert await job.next(second) is last

    run(body)


def test_live_text_is_polled_at_a_constant_pace_once_it_runs() -> None:
    async def body() -> None:
        clock = FakeClock()
        async with engine_on(clock) as engine:
            up = Upstream(clock)
            up.script = [Look(Phase.QUEUED)] * 3
            engine.watch("j", up.poll, deadline_s=60, manner=Manner.LIVE)
            await clock.advance(5)
            assert up.gaps[:3] == [0.5, 0.5, 1.0]
            assert set(up.gaps[3:]) == {0.3}

    run(body)


def test_jitter_stays_within_a_fifth() -> None:
    async def body() -> None:
        clock = FakeClock()
        chances = iter([0.0, 1.0, 0.5, 0.0, 1.0, *[0.5] * 50])
        async with engine_on(clock, chance=lambda: next(chances)) as engine:
            up = Upstream(clock)
            engine.watch("j", up.poll, deadline_s=60)
            await clock.advance(10)
            assert round(up.reads[0] - 1000, 3) == 0.2
            assert up.gaps[:4] == [0.6, 0.5, 0.8, 1.2]

    run(body)


def test_two_hundred_jobs_stay_within_half_of_fifty_reads_a_second() -> None:
    async def body() -> None:
        clock = FakeClock()
        async with engine_on(clock, reads_per_s=50, chance=random.Random(1).random) as engine:
            ups = [Upstream(clock) for _ in range(200)]
            for n, up in enumerate(ups):
                engine.watch(f"j{n}", up.poll, deadline_s=600)
            assert engine.floor_s == 8.0
            await clock.advance(60)
            reads = sorted(t for up in ups for t in up.reads)
            for start in reads:
                assert sum(start <= t < start + 1.0 for t in reads) <= 25 + 2
            gaps = [gap for up in ups for gap in up.gaps]
            assert min(gaps) >= 1.0  # each job that was planned while few were there
            steady = [b - a for up in ups for a, b in zip(up.reads, up.reads[1:], strict=False) if a > 1010]
            assert min(steady) >= 8.0 - 1e-6
            assert max(steady) <= 8.0 * 1.15
            assert all(up.reads for up in ups)

    run(body)


def test_when_most_jobs_have_ended_the_rest_need_not_wait_as_long() -> None:
    async def body() -> None:
        clock = FakeClock()
        async with engine_on(clock, reads_per_s=50) as engine:
            ups = [Upstream(clock) for _ in range(200)]
            for n, up in enumerate(ups):
                engine.watch(f"j{n}", up.poll, deadline_s=600)
            for up in ups[10:]:
                up.always = Look(Phase.DONE)
            await clock.advance(9)
            assert engine.in_flight == 10
            before = [len(up.reads) for up in ups[:10]]
            await clock.advance(3)
            assert all(len(up.reads) > n for up, n in zip(ups[:10], before, strict=True))

    run(body)


@pytest.mark.parametrize(
    "fault",
    [
        Fault.CONNECT,
        Fault.TIMEOUT,
        Fault.SERVER,
        Fault.OVERLOADED,
        Fault.CUT,
        Fault.MALFORMED,
    ],
)
def test_a_failed_read_is_not_a_failed_job(fault: Fault) -> None:
    async def body() -> None:
        clock = FakeClock()
        async with engine_on(clock) as engine:
            up = Upstream(clock)
            up.script = [
                Look(Phase.RUNNING),
                *[passing(fault)] * 6,
                Look(Phase.DONE, "x"),
            ]
            job = engine.watch("j", up.poll, deadline_s=100, on_over=up.over)
            await clock.advance(40)
            assert (await job.result()).body == "x"
            assert up.gaps[1:6] == [0.5, 1, 2, 4, 5]
            assert up.overs == 1

    run(body)


def test_a_429_silences_all_jobs_of_the_upstream_for_as_long_as_it_says() -> None:
    async def body() -> None:
        clock = FakeClock()
        async with engine_on(clock) as engine:
            one, other = Upstream(clock), Upstream(clock)
            one.script = [passing(Fault.RATE_LIMITED, upstream_status=429, retry_after_s=7)]
            engine.watch("1", one.poll, deadline_s=100)
            engine.watch("2", other.poll, deadline_s=100)
            await clock.advance(0.3)
            seen = len(one.reads) + len(other.reads)
            await clock.advance(6.8)
            assert len(one.reads) + len(other.reads) == seen
            await clock.advance(2)
            assert len(one.reads) > 1
            assert len(other.reads) > 1

    run(body)


def test_five_404s_in_a_row_after_a_success_mean_lost() -> None:
    async def body() -> None:
        clock = FakeClock()
        async with engine_on(clock) as engine:
            up = Upstream(clock)
            up.script = [
                Look(Phase.RUNNING),
                *[missing()] * 4,
                Look(Phase.RUNNING),
                *[missing()] * 5,
            ]
            job = engine.watch("j", up.poll, deadline_s=500, on_over=up.over)
            await clock.advance(60)
            with pytest.raises(UpstreamError, match="lost") as caught:
                await job.result()
            assert (caught.value.fault, caught.value.accepted) == (Fault.SERVER, True)
            assert (len(up.reads), up.overs, engine.in_flight) == (11, 1, 0)

    run(body)


def test_404s_before_the_first_sight_are_patience_first() -> None:
    async def body() -> None:
        clock = FakeClock()
        async with engine_on(clock) as engine:
            late, never = Upstream(clock), Upstream(clock)
            late.script = [*[missing()] * 12, Look(Phase.DONE, "x")]
            never.always = missing()
            first = engine.watch("1", late.poll, deadline_s=500)
            second = engine.watch("2", never.poll, deadline_s=500)
            await clock.advance(200)
            assert (await first.result()).body == "x"
            with pytest.raises(UpstreamError, match="lost"):
                await second.result()

    run(body)


def test_at_the_deadline_the_waiter_is_told_and_the_upstream_cancelled() -> None:
    async def body() -> None:
        clock = FakeClock()
        async with engine_on(clock) as engine:
            up = Upstream(clock)
            job = engine.watch("j", up.poll, deadline_s=10, cancel=up.cancel, on_over=up.over)
            waiting = asyncio.create_task(job.result())
            await clock.advance(9.9)
            assert not waiting.done()
            await clock.advance(0.1)
            with pytest.raises(UpstreamError) as caught:
                await waiting
            assert (
                caught.value.fault,
                caught.value.status,
                caught.value.should_retry,
            ) == (Fault.TIMEOUT, 504, False)
            assert (up.cancels, up.overs, engine.in_flight) == (1, 1, 0)

    run(body)


def test_leaving_cancels_once_and_frees_the_slot() -> None:
    async def body() -> None:
        clock = FakeClock()
        async with engine_on(clock) as engine:
            up = Upstream(clock)
            job = engine.watch("j", up.poll, deadline_s=100, cancel=up.cancel, on_over=up.over)
            await clock.advance(1)
            job.leave()
            job.leave()
            await clock.settle()
            reads = len(up.reads)
            assert (up.cancels, up.overs, engine.in_flight) == (1, 1, 0)
            await clock.advance(30)
            assert len(up.reads) == reads

    run(body)


@pytest.mark.parametrize("answer", [False, UpstreamError(Fault.SERVER, "500"), None])
def test_what_cannot_be_cancelled_keeps_its_slot_until_it_ends(
    answer: bool | Exception | None,
) -> None:
    async def body() -> None:
        clock = FakeClock()
        async with engine_on(clock) as engine:
            up = Upstream(clock)
            up.cancel_answer = answer if answer is not None else False
            job = engine.watch(
                "j",
                up.poll,
                deadline_s=100,
                cancel=None if answer is None else up.cancel,
                on_over=up.over,
                manner=Manner.LIVE,
            )
            await clock.advance(2)
            job.leave()
            await clock.settle()
            assert (job.abandoned, up.overs, engine.in_flight, engine.abandoned) == (
                True,
                0,
                1,
                1,
            )
            reads = len(up.reads)
            await clock.advance(ABANDONED_S - 1)
            assert len(up.reads) == reads  # nobody waits, so nobody looks often
            up.always = Look(Phase.DONE, "too late")
            await clock.advance(2)
            assert (len(up.reads), up.overs, engine.in_flight) == (reads + 1, 1, 0)

    run(body)


def test_an_abandoned_job_is_over_at_the_end_of_its_life() -> None:
    async def body() -> None:
        clock = FakeClock()
        async with engine_on(clock) as engine:
            up = Upstream(clock)
            job = engine.watch("j", up.poll, deadline_s=10, life_s=60, on_over=up.over)
            job.leave()
            await clock.advance(59)
            assert up.overs == 0
            await clock.advance(1)
            assert (up.overs, engine.in_flight) == (1, 0)

    run(body)


def test_a_read_under_way_survives_the_waiters_leaving() -> None:
    async def body() -> None:
        clock = FakeClock()
        async with engine_on(clock) as engine:
            gate, ended = asyncio.Event(), []

            async def slow() -> Look:
                await gate.wait()
                ended.append(True)
                return Look(Phase.DONE, "delivered once")

            overs: list[int] = []
            job = engine.watch("j", slow, deadline_s=100, on_over=lambda: overs.append(1))
            waiting = asyncio.create_task(job.result())
            await clock.advance(1)
            waiting.cancel()
            job.leave()
            gate.set()
            await clock.settle()
            assert (ended, overs, job.latest) == (
                [True],
                [1],
                Look(Phase.DONE, "delivered once"),
            )

    run(body)


def test_one_slow_read_does_not_hold_up_the_others() -> None:
    async def body() -> None:
        clock = FakeClock()
        async with engine_on(clock) as engine:

            async def stuck() -> Look:
                await asyncio.Event().wait()
                raise AssertionError

            up = Upstream(clock)
            up.script = [Look(Phase.RUNNING), Look(Phase.DONE)]
            engine.watch("stuck", stuck, deadline_s=100)
            job = engine.watch("j", up.poll, deadline_s=100)
            await clock.advance(2)
            assert (await job.result()).phase is Phase.DONE

    run(body)


def test_what_makes_reading_impossible_reaches_the_waiter_at_once() -> None:
    async def body() -> None:
        clock = FakeClock()
        async with engine_on(clock) as engine:
            for error in (
                UpstreamError(Fault.AUTH, "key revoked", upstream_status=401),
                KeyError("a bug of the adapter"),
            ):
                up = Upstream(clock)
                up.always = error
                job = engine.watch("j", up.poll, deadline_s=100, cancel=up.cancel)
                await clock.advance(0.5)
                with pytest.raises(type(error)):
                    await job.result()
                assert up.cancels == 1

    run(body)


def test_a_hint_looks_at_once_and_the_safety_net_rarely() -> None:
    async def body() -> None:
        clock = FakeClock()
        async with engine_on(clock) as engine:
            up = Upstream(clock)
            job = engine.watch("j", up.poll, deadline_s=100, manner=Manner.HINTED)
            await clock.advance(14)
            assert up.reads == []
            up.always = Look(Phase.DONE)
            job.hint()
            await clock.settle()
            assert len(up.reads) == 1
            assert (await job.result()).phase is Phase.DONE

    run(body)


def test_shutting_down_tells_waiters_cancels_and_frees() -> None:
    async def body() -> None:
        clock = FakeClock()
        engine = JobEngine("test", clock=clock)
        one, other = Upstream(clock), Upstream(clock)
        first = engine.watch("1", one.poll, deadline_s=100, cancel=one.cancel, on_over=one.over)
        engine.watch("2", other.poll, deadline_s=100, on_over=other.over)
        waiting = asyncio.create_task(first.result())
        await clock.advance(1)
        await engine.aclose()
        with pytest.raises(Unavailable):
            await waiting
        assert (one.cancels, one.overs, other.overs, engine.in_flight) == (1, 1, 1, 0)
        late = engine.watch("3", other.poll, deadline_s=100, on_over=other.over)
        with pytest.raises(Unavailable):
            await late.next()
        assert other.overs == 2

    run(body)


def test_five_thousand_jobs_with_random_faults_and_departures_leave_nothing() -> None:
    async def body() -> None:
        clock = FakeClock()
        dice = random.Random(7)
        overs: dict[int, int] = {}
        async with engine_on(clock, reads_per_s=2000, chance=dice.random) as engine:

            def poll_of(n: int) -> Callable[[], Awaitable[Look]]:
                left = dice.randint(1, 6)

                async def poll() -> Look:
                    nonlocal left
                    left -= 1
                    if dice.random() < 0.2:
                        raise dice.choice(
                            [
                                passing(),
                                missing(),
                                passing(Fault.CONNECT),
                                UpstreamError(Fault.AUTH, "no"),
                            ]
                        )
                    return Look(Phase.DONE if left <= 0 else Phase.RUNNING, n)

                return poll

            async def cancel() -> bool:
                if dice.random() < 0.3:
                    raise passing()
                return dice.random() < 0.5

            def over_of(n: int) -> Callable[[], None]:
                def over() -> None:
                    overs[n] = overs.get(n, 0) + 1

                return over

            def start(n: int) -> Job:
                manner = Manner.LIVE if n % 3 == 0 else Manner.STEADY
                stop = cancel if n % 2 else None
                return engine.watch(str(n), poll_of(n), deadline_s=30, cancel=stop, on_over=over_of(n), manner=manner)

            jobs = [start(n) for n in range(5000)]
            for _ in range(30):
                await clock.advance(2.5)
                for job in dice.sample(jobs, 150):
                    job.leave()
            assert engine.in_flight == 0
            assert (len(overs), set(overs.values())) == (5000, {1})
            assert len(engine._polls) == len(engine._ends) == 0

    run(body)


def test_a_hint_in_the_middle_of_a_read_is_not_lost() -> None:
    """The read may have been answered before what the hint is about."""

    async def body() -> None:
        clock = FakeClock()
        async with engine_on(clock) as engine:
            up = Upstream(clock)
            answered = asyncio.Event()

            async def slowly() -> Look:
                up.reads.append(clock.t)
                await answered.wait()
                return Look(Phase.RUNNING) if len(up.reads) == 1 else Look(Phase.DONE)

            job = engine.watch("a", slowly, deadline_s=600, on_over=up.over, manner=Manner.HINTED)
            job.hint()
            await clock.settle()
            job.hint()
            answered.set()
            await clock.settle()
            assert (await job.result()).phase is Phase.DONE
            assert up.reads == [1000.0, 1000.0]

    run(body)


def test_a_hint_may_change_the_manner() -> None:
    async def body() -> None:
        clock = FakeClock()
        async with engine_on(clock) as engine:
            up = Upstream(clock)
            job = engine.watch("a", up.poll, deadline_s=600, on_over=up.over)
            job.follow(Manner.HINTED)
            await clock.advance(0.3)
            assert up.reads == [1000.25]
            await clock.advance(10)
            assert len(up.reads) == 1, "a webhook will say"
            job.hint(Manner.LIVE)
            await clock.advance(1.0)
            assert up.gaps[1:] == [0.3, 0.3, 0.3]
            job.leave()

    run(body)


def test_what_was_learned_elsewhere_counts_like_a_read() -> None:
    async def body() -> None:
        clock = FakeClock()
        async with engine_on(clock) as engine:
            up = Upstream(clock)
            job = engine.watch("a", up.poll, deadline_s=600, on_over=up.over)
            job.learn(Look(Phase.RUNNING, text="a"))
            assert (await job.next()).text == "a"
            job.learn(Look(Phase.DONE, text="ab"))
            assert (await job.result()).text == "ab"
            job.learn(Look(Phase.FAILED))
            assert (await job.result()).text == "ab", "what is over stays as it is"
            await clock.advance(60)
            assert (up.reads, up.overs, engine.in_flight) == ([], 1, 0)

    run(body)


def test_workers_share_what_an_upstream_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        clock = FakeClock()
        monkeypatch.setenv("TRAGHETTO_WORKERS", "4")
        async with engine_on(clock, reads_per_s=8.0) as engine:
            up = Upstream(clock)
            jobs = [engine.watch(str(n), up.poll, deadline_s=600) for n in range(10)]
            assert engine.floor_s == pytest.approx(10.0), "half of 8 for all four: one a second here"
            for job in jobs:
                job.leave()

    run(body)
