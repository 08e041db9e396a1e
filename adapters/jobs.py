"""The one engine for everything that is submitted and then polled: one poller task per upstream.

It owns when a job is read, how often an upstream is asked at most, deadlines, lost jobs and what happens when the client
leaves; it refuses to know HTTP and vendors: reading and cancelling are functions given to it. Invariants: reads never pass
half of what the upstream allows; a failed read is not a failed job; a read under way is never cancelled (some upstreams
hand out a result once); `on_over` is called exactly once per job, when the upstream works on it no longer.
"""

import asyncio
import contextlib
import heapq
import itertools
import random
from collections.abc import Awaitable, Callable, Coroutine

from adapters.job_pace import (
    BURST,
    CANCEL_S,
    JITTER,
    LOST_AFTER,
    NEVER_SEEN_AFTER,
    READ_S,
    SHARE,
    Clock,
    Look,
    Manner,
    Monotonic,
    wait_s,
    workers,
)
from proxy.errors import ClientGone, Fault, TraghettoError, Unavailable, UpstreamError

_PASSING = {
    Fault.CONNECT,
    Fault.TIMEOUT,
    Fault.RATE_LIMITED,
    Fault.OVERLOADED,
    Fault.SERVER,
    Fault.MALFORMED,
    Fault.CUT,
}

Poll = Callable[[], Awaitable[Look]]
Cancel = Callable[[], Awaitable[bool]]


class Job:
    """What a waiter holds. It may `leave` at any moment, and must when it no longer waits."""

    def __init__(
        self,
        engine: "JobEngine",
        key: str,
        poll: Poll,
        cancel: Cancel | None,
        on_over: Callable[[], None],
    ) -> None:
        self.key = key
        self.latest: Look | None = None
        self.abandoned = False
        self.over = False
        self._engine, self._poll, self._cancel, self._on_over = (
            engine,
            poll,
            cancel,
            on_over,
        )
        self._error: Exception | None = None
        self._changed = asyncio.Event()
        self._left = self._reading = self._hinted = False
        self._manner = Manner.STEADY
        self._reads = self._misses = self._not_found = 0
        self._last = self._wait = 0.0
        self._due = 0.0

    async def next(self, known: Look | None = None) -> Look:
        """The next look that is not `known`; those that nobody waited for are skipped.

        Raises UpstreamError: TIMEOUT at the deadline, SERVER when the job is lost, or what made reading impossible.
        """
        while self.latest is known or self.latest is None:
            if self._error:
                raise self._error
            if self.over:
                raise ClientGone("Nobody waits for this job any more.")
            self._changed.clear()
            await self._changed.wait()
        return self.latest

    async def result(self) -> Look:
        """The last look (done, failed or canceled); raises as `next` does."""
        look = None
        while look is None or not look.over:
            look = await self.next(look)
        return look

    def hint(self, manner: Manner | None = None) -> None:
        """Something says that there is news (a webhook, the end of a stream): look now, and from now on in this manner."""
        self._manner = manner or self._manner
        if self._reading:
            self._hinted = True  # the read under way may have come too early
        elif not self.over:
            self._last = self._wait = 0.0
            self._engine._push(self)

    def follow(self, manner: Manner) -> None:
        """Look at it in this manner from the next look on."""
        self._manner = manner

    def learn(self, look: Look) -> None:
        """What somebody was told about the job without a read (the answer to its creation)."""
        if not self.over:
            self._engine._saw(self, look)

    def leave(self) -> None:
        """The waiter is gone: cancel upstream, or where that is impossible keep the slot until the job ends. Idempotent."""
        if not self._left and not self.over:
            self._left = True
            self._engine._left(self)

    def _show(self, look: Look) -> None:
        self.latest = look
        self._changed.set()

    def _fail(self, error: Exception) -> None:
        if self._error is None:
            self._error = error
        self._changed.set()


class JobEngine:
    """All jobs of one upstream in this process. `reads_per_s` is what the upstream allows for polling, of all workers
    together (None: no limit known)."""

    def __init__(
        self,
        name: str,
        *,
        reads_per_s: float | None = None,
        max_reads: int = 32,
        clock: Clock | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.name = name
        self._spacing = workers() / (SHARE * reads_per_s) if reads_per_s else 0.0
        self._max_reads = max_reads
        self._clock = clock or Monotonic()
        self._chance = chance
        self._jobs: set[Job] = set()
        self._polls: list[tuple[float, int, Job]] = []
        self._ends: list[tuple[float, int, Job, bool]] = []
        self._numbers = itertools.count()
        self._wake = asyncio.Event()
        self._poller: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._reading = 0
        self._next_read = self._not_before = 0.0
        self._crowd = 0
        self._closed = False

    @property
    def in_flight(self) -> int:
        """Jobs that the upstream still works on, as far as we know; abandoned ones too."""
        return len(self._jobs)

    @property
    def abandoned(self) -> int:
        return sum(job.abandoned for job in self._jobs)

    @property
    def floor_s(self) -> float:
        """The least time between two reads of one job, so that all jobs together stay within the share."""
        return len(self._jobs) * self._spacing

    def watch(
        self,
        key: str,
        poll: Poll,
        *,
        deadline_s: float,
        life_s: float | None = None,
        cancel: Cancel | None = None,
        on_over: Callable[[], None] = lambda: None,
        manner: Manner = Manner.STEADY,
    ) -> Job:
        """Start to follow a job that exists upstream.

        After `deadline_s` the waiter gets TIMEOUT; after `life_s` (default twice that) an abandoned job counts as over.
        `cancel` says whether the upstream stopped it. `manner` is how often it is looked at.
        """
        job = Job(self, key, poll, cancel, on_over)
        job._manner = manner
        if self._closed:
            job._error = Unavailable("The server is shutting down.")
            job.over = True
            on_over()
            return job
        now = self._clock.now()
        self._jobs.add(job)
        life = max(deadline_s, 2 * deadline_s if life_s is None else life_s)
        heapq.heappush(self._ends, (now + deadline_s, next(self._numbers), job, False))
        heapq.heappush(self._ends, (now + life, next(self._numbers), job, True))
        self._plan(job)
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._run(), name=f"poller {self.name}")
        return job

    async def aclose(self) -> None:
        """Stop polling, cancel upstream what can be (together at most 5 s), free all slots."""
        self._closed = True
        jobs = list(self._jobs)
        for job in jobs:
            job._fail(Unavailable("The server is shutting down."))
        cancels = [asyncio.create_task(self._cancel(job)) for job in jobs if job._cancel and not job._left]
        if cancels:
            await asyncio.wait(cancels, timeout=CANCEL_S)
        tasks = [*cancels, *self._tasks, *([self._poller] if self._poller else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for job in jobs:
            self._finish(job)

    # -- when ---------------------------------------------------------------------------------------------------------

    def _plan(self, job: Job) -> None:
        """Fix how long this job waits for its next read; ±20 %, so that jobs of one moment drift apart."""
        base = wait_s(job._reads, job._misses, job.latest, job._manner, abandoned=job.abandoned)
        job._last = self._clock.now()
        job._wait = base * (1 + JITTER * (2 * self._chance() - 1))
        self._push(job)

    def _push(self, job: Job) -> None:
        job._due = max(job._last + max(job._wait, self.floor_s if job._last else 0.0), 0.0)
        heapq.heappush(self._polls, (job._due, next(self._numbers), job))
        self._wake.set()

    def _thin_out(self) -> None:
        """Fewer jobs than before: the floor fell, and those that wait because of it need not wait so long."""
        self._crowd = max(self._crowd, len(self._jobs))
        if self._spacing and len(self._jobs) < 0.75 * self._crowd:
            self._crowd = len(self._jobs)
            for job in self._jobs:
                if job._last + max(job._wait, self.floor_s) < job._due:
                    self._push(job)

    async def _run(self) -> None:
        while self._jobs:
            self._wake.clear()
            now = self._clock.now()
            self._end_what_is_due(now)
            until = self._read_what_is_due(now)
            if self._ends:
                until = min(until, self._ends[0][0])
            if self._jobs:
                await self._clock.wait(self._wake, until)
        self._polls.clear()
        self._ends.clear()
        self._crowd = 0

    def _end_what_is_due(self, now: float) -> None:
        while self._ends and self._ends[0][0] <= now:
            _, _, job, for_good = heapq.heappop(self._ends)
            if job.over:
                continue
            said = f"The upstream {self.name} did not finish the job in time."
            job._fail(UpstreamError(Fault.TIMEOUT, said, accepted=True))
            if for_good:
                self._finish(job)
            else:
                job.leave()

    def _read_what_is_due(self, now: float) -> float:
        """Start the reads that are due and allowed; returns when to look again."""
        while self._polls:
            due, _, job = self._polls[0]
            if job.over or job._reading or due != job._due:
                heapq.heappop(self._polls)
                continue
            at = max(due, self._not_before, self._next_read - (BURST - 1) * self._spacing)
            if at > now:
                return at
            if self._reading >= self._max_reads:
                break
            heapq.heappop(self._polls)
            self._next_read = max(now, self._next_read) + self._spacing
            job._reading = True
            self._reading += 1
            self._spawn(self._read(job))
        return now + 3600.0

    # -- reading ------------------------------------------------------------------------------------------------------

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read(self, job: Job) -> None:
        try:
            async with asyncio.timeout(READ_S):
                look = await job._poll()
        except TimeoutError:
            self._missed(job, None, None)
        except UpstreamError as error:
            if error.upstream_status == 404 or error.fault is Fault.MISSING:
                self._missed(job, 404, None)
            elif error.fault in _PASSING:
                self._missed(
                    job,
                    429 if error.fault is Fault.RATE_LIMITED else error.upstream_status,
                    error.retry_after_s,
                )
            else:
                self._give_up(job, error)
        except Exception as error:  # noqa: BLE001 - a bug of an adapter must reach the waiter, not die in this task
            self._give_up(job, error)
        else:
            job._misses = job._not_found = 0
            job._reads += 1
            self._saw(job, look)
        finally:
            self._reading -= 1
            job._reading = False
            hinted, job._hinted = job._hinted, False
            if not job.over and not self._closed:
                self._plan(job)
                if hinted:
                    job.hint()
            self._wake.set()

    def _saw(self, job: Job, look: Look) -> None:
        if look != job.latest:
            job._show(look)
        if look.over:
            self._finish(job)

    def _missed(self, job: Job, status: int | None, retry_after: float | None) -> None:
        """A read that failed: the job goes on, unless it has not been found so often that it is lost."""
        job._misses += 1
        job._not_found = job._not_found + 1 if status == 404 else 0
        if status == 429:
            # The limit is the account's, so that all jobs wait.
            self._not_before = max(
                self._not_before,
                self._clock.now() + (1.0 if retry_after is None else retry_after),
            )
        limit = LOST_AFTER if job._reads else NEVER_SEEN_AFTER
        if job._not_found >= limit:
            said = f"The upstream {self.name} lost the job."
            job._fail(UpstreamError(Fault.SERVER, said, accepted=True, upstream_status=404))
            self._finish(job)

    def _give_up(self, job: Job, error: Exception) -> None:
        """Reading cannot succeed (our key was revoked): the waiter learns it, the job may go on upstream."""
        job._fail(error)
        job.leave()

    # -- ending -------------------------------------------------------------------------------------------------------

    def _left(self, job: Job) -> None:
        if job._cancel is None or self._closed:
            self._abandon(job)
        else:
            self._spawn(self._cancel(job))

    async def _cancel(self, job: Job) -> None:
        stopped = False
        assert job._cancel is not None
        with contextlib.suppress(TimeoutError, TraghettoError):
            async with asyncio.timeout(CANCEL_S):
                stopped = await job._cancel()
        if job.over:
            return
        if stopped:
            self._finish(job)
        else:
            self._abandon(job)

    def _abandon(self, job: Job) -> None:
        job.abandoned = True
        if not job._reading and not job.over:
            self._plan(job)

    def _finish(self, job: Job) -> None:
        if job.over:
            return
        job.over = True
        self._jobs.discard(job)
        self._thin_out()
        if len(self._ends) > 4 * len(self._jobs) + 64:
            self._ends = [end for end in self._ends if not end[2].over]
            heapq.heapify(self._ends)
        self._wake.set()
        job._changed.set()
        job._on_over()
