"""One loaded model for as long as it is wanted: calls in, a process underneath, another when it dies.

Owns the calls in flight, restarts with back-off, replay, and the decision that a process is stuck. Refuses to know
which models there are and when they unload (`life`). Invariants: every call ends exactly once, whatever the process
does; a call is replayed at most once and only if its consumer has had nothing; a crash loop ends in quarantine.
"""

import asyncio
import itertools
import time
from collections.abc import Callable
from typing import Any

import msgspec

from adapters.llama import faults, frames
from adapters.llama.client import Child
from adapters.llama.frames import ToEngine, ToGateway
from adapters.llama.generation import Generation, Query
from adapters.llama.quarantine import Quarantine, identity
from adapters.llama.spec import Counters, Embed, Generate, ModelInfo, Setup
from proxy.errors import Fault, UpstreamError


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """Times in seconds. `crash_limit` lives in a row without a token make a crash loop."""

    heartbeat_s: float = 1.0
    heartbeat_timeout_s: float = 8.0
    step_timeout_s: float = 300.0  # one decode
    prepare_timeout_s: float = 30.0  # rendering and tokenising one call
    backoff_s: float = 0.25
    backoff_most_s: float = 30.0
    crash_limit: int = 5
    quarantine_s: float = 300.0
    queue_limit: int = 256
    grace_s: float = 5.0


class Engine:
    """`start`, then `submit`, `embed`, `tokenize`, `render`, `stats`; `stop` at the end. One event loop."""

    def __init__(
        self,
        path: str,
        setup: Setup,
        *,
        policy: Policy | None = None,
        quarantine: Quarantine | None = None,
        on_progress: Callable[[float], None] | None = None,
    ) -> None:
        self.path = path
        self.setup = setup
        self.policy = policy or Policy()
        self.state = "stopped"  # starting ready restarting stopping failed
        self.info: ModelInfo | None = None
        self.progress = 0.0
        self.restarts = 0
        self.failure: UpstreamError | None = None
        self._quarantine = quarantine or Quarantine()
        self._identity = ""
        self._on_progress = on_progress
        self._ids = itertools.count(1)
        self._calls: dict[int, Generation | Query] = {}
        self._child: Child | None = None
        self._run: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[ModelInfo] | None = None
        self._failed: frames.Failed | None = None
        self._productive = False
        self._culprit = 0
        self._pong = 0.0
        self._done_at = 0.0
        self._done_every = 1.0

    # -- life -----------------------------------------------------------------------------------------------------

    async def start(self) -> ModelInfo:
        """Loads; returns when it can serve. UpstreamError if the model cannot be loaded or is quarantined."""
        if self._ready is None:
            self._identity = await asyncio.to_thread(identity, self.path, self.setup)
            reason = self._quarantine.reason(self._identity)
            if reason is not None:
                raise faults.quarantined(reason, self._quarantine.remaining_s(self._identity))
            self._ready = asyncio.get_running_loop().create_future()
            self.state = "starting"
            self._run = asyncio.create_task(self._live())
        return await asyncio.shield(self._ready)

    async def stop(self, grace_s: float | None = None) -> None:
        """Ends the process; calls still running fail."""
        self.state = "stopping"
        run, self._run = self._run, None
        if run is not None:
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)
        child, self._child = self._child, None
        if child is not None:
            await child.shutdown(self.policy.grace_s if grace_s is None else grace_s)
        self._fail_all(faults.gone("the model was unloaded"))
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(faults.gone("the model was unloaded"))
        self._ready = None
        self.state = "stopped"

    @property
    def pid(self) -> int | None:
        return None if self._child is None else self._child.pid

    @property
    def waiting(self) -> int:
        """Calls that have not left the queue."""
        return sum(1 for call in self._calls.values() if isinstance(call, Generation) and not call.admitted)

    @property
    def in_flight(self) -> int:
        return len(self._calls)

    # -- calls ----------------------------------------------------------------------------------------------------

    def submit(self, request: Generate) -> Generation:
        """Raises UpstreamError: RATE_LIMITED with retry_after_s when the queue is full, OVERLOADED when not loaded."""
        self._must_serve()
        if self.waiting >= self.policy.queue_limit:
            raise faults.queue_full(self.retry_after_s())
        generation = Generation(next(self._ids), request, self._forget)
        self._calls[generation.id] = generation
        try:
            self._send(frames.Gen(generation.id, request))
        except (frames.FrameError, msgspec.MsgspecError, UnicodeEncodeError, TypeError, OverflowError) as error:
            del self._calls[generation.id]
            raise faults.unencodable(error) from error
        return generation

    async def embed(self, request: Embed) -> tuple[bytes, int]:
        """(little-endian float32 rows one after the other, prompt tokens)."""
        reply = await self._ask("embed", request)
        return reply.blob, reply.count

    async def tokenize(self, request: Generate) -> tuple[int, bytes]:
        """(number of tokens of the prompt as the model gets it, little-endian int32 ids)."""
        reply = await self._ask("tokenize", request)
        return reply.count, reply.blob

    async def render(self, request: Generate) -> str:
        """The prompt as the chat template makes it."""
        return (await self._ask("render", request)).text

    async def stats(self) -> Counters:
        reply = await self._ask("stats", None)
        assert reply.counters is not None
        return reply.counters

    async def _ask(self, kind: str, request: Generate | Embed | None) -> frames.Reply:
        self._must_serve()
        query = Query(next(self._ids), kind, request)
        self._calls[query.id] = query
        try:
            self._send(_frame_of(query))
            return await query.answer
        finally:
            if self._calls.pop(query.id, None) is not None:
                self._send(frames.Cancel(query.id))

    def _must_serve(self) -> None:
        if self.failure is not None:
            raise self.failure
        if self.state in ("stopped", "stopping"):
            raise faults.gone("the model is not loaded")

    def retry_after_s(self) -> float:
        """When a place in the queue may be free, from how fast calls have ended lately."""
        return min(max(self._done_every, 1.0), 60.0)

    def _forget(self, generation: Generation) -> None:
        if self._calls.pop(generation.id, None) is not None:
            self._send(frames.Cancel(generation.id))

    def _send(self, frame: ToEngine) -> None:
        """While there is no ready process a call waits in `_calls` and is sent when there is one."""
        if self.state == "ready" and self._child is not None:
            self._child.send(frame)

    def _fail_all(self, error: UpstreamError) -> None:
        calls, self._calls = list(self._calls.values()), {}
        for call in calls:
            call.fail(error)

    # -- the process ----------------------------------------------------------------------------------------------

    async def _live(self) -> None:
        """One life after the other, until the model cannot be had."""
        crashes = self._quarantine.crashes(self._identity)
        try:
            while True:
                self._productive, self._failed, self._culprit = False, None, 0
                reason = await self._one_life()
                failed = self._load_failure()
                if failed is not None:
                    self._give_up(faults.not_loadable(failed))
                    return
                crashes = 1 if self._productive else crashes + 1
                self.restarts += 1
                self._sort_calls(reason)
                if crashes >= self.policy.crash_limit:
                    self._quarantine.add(self._identity, reason, self.policy.quarantine_s)
                    self._give_up(faults.quarantined(reason, self.policy.quarantine_s))
                    return
                self.state = "restarting"
                await asyncio.sleep(self._backoff(crashes))
        except OSError as error:
            self._give_up(faults.gone(f"the engine process could not be started: {error}"))

    def _load_failure(self) -> frames.Failed | None:
        return self._failed

    def _backoff(self, crashes: int) -> float:
        """None after the first crash, then doubling."""
        return 0.0 if crashes <= 1 else min(self.policy.backoff_s * 2.0 ** (crashes - 2), self.policy.backoff_most_s)

    async def _one_life(self) -> str:
        """From spawn to death; how it ended."""
        child = self._child = await Child.spawn(self.path, self.setup, self._on_frame)
        self._pong = time.monotonic()
        heart = asyncio.create_task(self._beat(child))
        try:
            code = await asyncio.shield(child.exited)
        finally:
            heart.cancel()
        self._child = None
        if self.state == "ready":
            self.state = "restarting"
        return child.obituary(code)

    def _sort_calls(self, reason: str) -> None:
        """After a death: which calls begin again, and which are over."""
        for call in list(self._calls.values()):
            again = call.replays < 1 and call.id != self._culprit
            if again and isinstance(call, Generation) and not call.delivered:
                call.begin_again()
            elif again and isinstance(call, Query):
                call.replays += 1
            else:
                del self._calls[call.id]
                call.fail(faults.crashed(reason, delivered=getattr(call, "delivered", False)))

    def _give_up(self, error: UpstreamError) -> None:
        self.state, self.failure = "failed", error
        self._fail_all(error)
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(error)
            self._ready.exception()  # it may be that nobody waits

    async def _beat(self, child: Child) -> None:
        """Pings; kills a process that does not answer or is stuck."""
        policy = self.policy
        while True:
            child.send(frames.Ping(time.monotonic()))
            asked = time.monotonic()
            await asyncio.sleep(policy.heartbeat_s)
            now = time.monotonic()
            if now - asked > policy.heartbeat_s + 1.0:
                self._pong = max(self._pong, now - policy.heartbeat_s)  # it was us who did not run
            if now - self._pong > policy.heartbeat_timeout_s:
                child.kill(f"it did not answer for {now - self._pong:.1f} s")
                return

    def _on_pong(self, pong: frames.Pong) -> None:
        self._pong = time.monotonic()
        if self._child is None:
            return
        if pong.step_s > self.policy.step_timeout_s:
            self._child.kill(f"one step took {pong.step_s:.0f} s")
        elif pong.preparing_s > self.policy.prepare_timeout_s:
            self._culprit = pong.preparing
            self._child.kill(f"preparing a call took {pong.preparing_s:.0f} s")

    # -- frames ---------------------------------------------------------------------------------------------------

    def _on_frame(self, frame: ToGateway) -> None:
        if isinstance(frame, frames.Step):
            self._on_step(frame)
        elif isinstance(frame, frames.Pong):
            self._on_pong(frame)
        elif isinstance(frame, frames.Reply):
            query = self._calls.pop(frame.id, None)
            if isinstance(query, Query):
                self._productive = True
                query.finish(frame)
        elif isinstance(frame, frames.Error):
            call = self._calls.pop(frame.id, None)
            if call is not None:
                call.fail(faults.from_frame(frame))
        elif isinstance(frame, frames.Ready):
            self._on_ready(frame.info)
        elif isinstance(frame, frames.Progress):
            self._report(frame.share)
        else:
            self._failed = frame

    def _on_step(self, step: frames.Step) -> None:
        self._productive = True
        calls = self._calls
        for call_id in step.admitted:
            call = calls.get(call_id)
            if isinstance(call, Generation):
                call.admitted = True
        for call_id, delta in step.deltas:
            call = calls.get(call_id)
            if isinstance(call, Generation):
                call.feed(delta)
        for call_id, usage in step.done:
            call = calls.pop(call_id, None)
            if isinstance(call, Generation):
                self._count_done()
                call.finish(usage)

    def _count_done(self) -> None:
        now = time.monotonic()
        if self._done_at:
            self._done_every += 0.2 * (now - self._done_at - self._done_every)
        self._done_at = now

    def _on_ready(self, info: ModelInfo) -> None:
        self.info = info
        self._failed = None  # what was feared did not come
        self.state = "ready"
        self._report(1.0)
        for call in list(self._calls.values()):
            self._send(_frame_of(call))
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(info)

    def _report(self, share: float) -> None:
        self.progress = share
        if self._on_progress is not None:
            self._on_progress(share)


def _frame_of(call: Generation | Query) -> ToEngine:
    if isinstance(call, Generation):
        return frames.Gen(call.id, call.request)
    if call.kind == "stats":
        return frames.Stats(call.id)
    request: Any = call.request
    if call.kind == "embed":
        return frames.EmbedCall(call.id, request)
    return frames.Tokenize(call.id, request) if call.kind == "tokenize" else frames.Render(call.id, request)


__all__ = ["Engine", "Fault", "Policy"]
