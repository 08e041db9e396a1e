"""Which models are loaded: on demand, at most so many, for so long.

Owns residents, their users, eviction and expiry. Refuses to know calls and processes (`supervisor`). Invariants: an
engine is stopped only when nobody uses it; a model that waits for a place gets one after `patience_s` plus the calls
then running (times the models before it), since the resident that must go takes no new users; of a model there is at
most one resident.
"""

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import partial

import msgspec

from adapters.llama import faults
from adapters.llama.footprint import DoesNotFit, Machine, Wishes, estimate, plan, this_machine
from adapters.llama.gguf_meta import GgufError, read
from adapters.llama.quarantine import Quarantine
from adapters.llama.resident import Hold, Progress, Residency, Resident, Settings, Status
from adapters.llama.spec import Setup
from adapters.llama.supervisor import Engine, Policy
from proxy.errors import UpstreamError

MOST_FAILURES = 64  # failed loads that are remembered


class Life:
    """`acquire` and release; `load`, `unload` and `status` for the administrator; `aclose` at the end."""

    def __init__(
        self,
        wishes: Wishes,
        residency: Residency | None = None,
        *,
        policy: Policy | None = None,
        machine: Callable[[], Machine] = this_machine,
    ) -> None:
        self.wishes = wishes
        self.residency = residency or Residency()
        self._policy = policy
        self._machine = machine
        self._quarantine = Quarantine()
        self._residents: dict[str, Resident] = {}
        self._waiting: dict[str, tuple[float, asyncio.Future[None]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loads: set[asyncio.Task[Status]] = set()
        self._failures: dict[str, tuple[float, UpstreamError]] = {}  # the last failed load of a path, and when
        self._closed = False
        self._states = ""  # a folder of ours for sequences' states

    # -- using ----------------------------------------------------------------------------------------------------

    async def acquire(self, path: str, on_progress: Progress | None = None) -> Hold:
        """Loads if need be. Raises UpstreamError when the model cannot be had. Cancelling it gives everything back."""
        while True:
            resident = await self._place(path)
            resident.users += 1
            resident.claimed = True
            self._touch(resident)
            if on_progress is not None:
                resident.listeners.add(on_progress)
            try:
                engine = await self._engine(resident)
            except BaseException:
                self._let_go(resident)
                raise
            finally:
                if on_progress is not None:
                    resident.listeners.discard(on_progress)
            if not resident.stopping:
                resident.served += 1
                return Hold(engine, partial(self._let_go, resident))
            self._let_go(resident)

    async def _engine(self, resident: Resident) -> Engine:
        if resident.loading is None:
            resident.loading = asyncio.create_task(self._load(resident))
        try:
            return await asyncio.shield(resident.loading)
        except asyncio.CancelledError:
            if resident.loading is not None and resident.loading.cancelled():
                raise faults.gone("the model was unloaded while it was being loaded") from None
            raise

    async def _load(self, resident: Resident) -> Engine:
        """Header, plan, process. A failed load leaves no resident behind."""
        try:
            setup = await self._plan(resident)
            engine = Engine(
                resident.path, setup, policy=self._policy, quarantine=self._quarantine, on_progress=resident.report
            )
            resident.engine = engine
            await engine.start()
        except BaseException as error:
            if isinstance(error, UpstreamError):
                self._note_failure(resident.path, error)
            self._discard(resident)
            raise
        self._failures.pop(resident.path, None)
        return engine

    def _note_failure(self, path: str, error: UpstreamError) -> None:
        self._failures.pop(path, None)
        self._failures[path] = (time.time(), error)
        if len(self._failures) > MOST_FAILURES:
            del self._failures[next(iter(self._failures))]

    async def _plan(self, resident: Resident) -> Setup:
        try:
            meta = await asyncio.to_thread(read, resident.path)
        except GgufError as error:
            raise faults.bad_file(str(error)) from error
        wishes = self._with_folder(resident.wishes)
        for last in (False, True):
            try:
                setup = plan(meta, wishes, self._machine())
                break
            except DoesNotFit as error:
                if last:
                    raise faults.gone(str(error)) from error
                await self._evict_idle(resident)
        resident.footprint = estimate(meta, setup)
        return setup

    def _with_folder(self, wishes: Wishes) -> Wishes:
        """Prefixes outlive a model's process in memory-backed files, unless a folder is configured."""
        if not wishes.host_cache or wishes.host_cache_dir:
            return wishes
        if not self._states:
            memory = "/dev/shm"
            self._states = tempfile.mkdtemp(prefix="traghetto-", dir=memory if os.access(memory, os.W_OK) else None)
        return msgspec.structs.replace(wishes, host_cache_dir=self._states)

    def _touch(self, resident: Resident) -> None:
        if resident.timer is not None:
            resident.timer.cancel()
            resident.timer = None

    def _let_go(self, resident: Resident) -> None:
        resident.users -= 1
        if resident.users:
            return
        resident.idle_since, resident.used = time.monotonic(), time.time()
        broken = resident.engine is not None and resident.engine.state == "failed"
        if resident.draining or resident.keep_s == 0 or broken:
            self._stop(resident)
        elif resident.keep_s > 0 and not self._closed:
            resident.timer = asyncio.get_running_loop().call_later(resident.keep_s, self._expire, resident)
        self._arrange()

    def _expire(self, resident: Resident) -> None:
        if not resident.users:
            self._stop(resident)

    # -- places ---------------------------------------------------------------------------------------------------

    async def _place(self, path: str) -> Resident:
        """The resident for a path; waits for a place if all are taken."""
        while True:
            if self._closed:
                raise faults.gone("the local engine is closed")
            resident = self._residents.get(path)
            if resident is not None and not resident.draining and not resident.stopping:
                return resident
            if path not in self._waiting:
                self._waiting[path] = (time.monotonic(), asyncio.get_running_loop().create_future())
                self._arrange()
            if path in self._waiting:
                await asyncio.shield(self._waiting[path][1])

    def _arrange(self) -> None:
        """Gives free places to those who wait, longest first, and makes places for the rest."""
        leaving = sum(1 for r in self._residents.values() if r.draining or r.stopping)
        for path, (since, future) in list(self._waiting.items()):
            if path not in self._residents and len(self._residents) < max(self.residency.max_loaded, 1):
                resident = self._residents[path] = Resident(path, self.residency.keep_s, self.wishes)
                asyncio.get_running_loop().call_later(1.0, self._unclaimed, resident)
                del self._waiting[path]
                future.set_result(None)
            elif leaving:
                leaving -= 1  # a place is on its way
            else:
                self._make_place(since)

    def _unclaimed(self, resident: Resident) -> None:
        """Whoever asked for it has gone."""
        if not resident.claimed and self._residents.get(resident.path) is resident:
            self._stop(resident)

    def _make_place(self, since: float) -> None:
        """Stops an idle resident; or, once somebody has waited long enough, closes a busy one to new users."""
        staying = [r for r in self._residents.values() if not r.draining and not r.stopping]
        idle = [r for r in staying if not r.users and r.claimed]
        if idle:
            self._stop(min(idle, key=lambda r: r.idle_since))
            return
        if not staying:
            return
        oldest = min(staying, key=lambda r: r.placed_at)
        waited = time.monotonic() - max(since, oldest.placed_at)  # each has its turn
        if waited >= self.residency.patience_s:
            oldest.draining = True
            return
        asyncio.get_running_loop().call_later(max(self.residency.patience_s - waited, 0.0) + 0.001, self._arrange)

    def _stop(self, resident: Resident) -> None:
        if resident.stopping:
            return
        resident.stopping = True
        self._touch(resident)
        task = asyncio.create_task(self._stopped(resident))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _stopped(self, resident: Resident) -> None:
        try:
            if resident.loading is not None and not resident.loading.done():
                resident.loading.cancel()
                await asyncio.gather(resident.loading, return_exceptions=True)
            if resident.engine is not None:
                await resident.engine.stop()
        finally:
            self._discard(resident)

    def _discard(self, resident: Resident) -> None:
        self._touch(resident)
        resident.stopping = True
        if self._residents.get(resident.path) is resident:
            del self._residents[resident.path]
        if resident.engine is not None and resident.engine.state not in ("stopped", "stopping"):
            task = asyncio.create_task(resident.engine.stop(0.0))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if not self._closed:
            self._arrange()

    async def _evict_idle(self, wanting: Resident) -> None:
        idle = [r for r in self._residents.values() if r is not wanting and not r.users]
        for resident in idle:
            self._stop(resident)
        while any(self._residents.get(r.path) is r for r in idle):
            await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- administration -------------------------------------------------------------------------------------------

    async def load(
        self,
        path: str,
        *,
        parallel: int | None = None,
        keep_s: float | None = None,
        on_progress: Progress | None = None,
    ) -> Status:
        """Loads now, with its own number of parallel sequences and time to stay. A change of the first reloads."""
        resident = self._residents.get(path)
        if resident is not None and parallel not in (None, resident.parallel):
            await self.unload(path)
        resident = await self._place(path)
        if parallel is not None and resident.loading is None:
            resident.wishes = msgspec.structs.replace(self.wishes, parallel=parallel)
        if keep_s is not None:
            resident.keep_s = keep_s
        hold = await self.acquire(path, on_progress)
        hold.release()
        resident.served -= 1  # that was no call
        return resident.status()

    async def begin_load(self, path: str, *, parallel: int | None = None, keep_s: float | None = None) -> None:
        """`load`, in the background: `status` tells how it goes, and why it failed."""
        self._failures.pop(path, None)
        task = asyncio.create_task(self.load(path, parallel=parallel, keep_s=keep_s))
        self._loads.add(task)
        task.add_done_callback(self._load_ended)

    def _load_ended(self, task: asyncio.Task[Status]) -> None:
        self._loads.discard(task)
        if not task.cancelled():
            task.exception()  # a failure is in `_failures`; nobody else waits for it

    async def unload(self, path: str) -> bool:
        """Takes no new calls, lets those running end, then unloads. False if it was not loaded."""
        resident = self._residents.get(path)
        if not await self.begin_unload(path):
            return False
        while self._residents.get(path) is resident:
            await asyncio.sleep(0.01) if not self._tasks else await asyncio.wait(self._tasks, timeout=0.05)
        return True

    async def begin_unload(self, path: str) -> bool:
        """As `unload`, without waiting for the end of what runs."""
        resident = self._residents.get(path)
        if resident is None:
            return False
        resident.draining = True
        if not resident.users:
            self._stop(resident)
        return True

    def status(self) -> list[Status]:
        return [resident.status() for resident in self._residents.values()]

    def status_of(self, path: str) -> Status | None:
        """Of a resident, of a model that waits for a place, or of the last load, if that failed; else None."""
        resident = self._residents.get(path)
        if resident is not None:
            return resident.status()
        return next((status for status in self.others() if status.path == path), None)

    def others(self) -> list[Status]:
        """Of models that wait for a place, and of those whose last load failed."""
        now, monotonic = time.time(), time.monotonic()
        waiting = [
            Status(path=path, state="waiting", created=now - (monotonic - since), used=now)
            for path, (since, _) in self._waiting.items()
            if path not in self._residents
        ]
        failed = [
            Status(path=path, state="failed", created=at, used=at, reason=error.message)
            for path, (at, error) in self._failures.items()
            if path not in self._residents and path not in self._waiting
        ]
        return waiting + failed

    async def aclose(self) -> None:
        """Stops everything; calls still running fail."""
        self._closed = True
        for load in self._loads:
            load.cancel()
        for _, future in self._waiting.values():
            if not future.done():
                future.set_result(None)
        self._waiting.clear()
        for resident in list(self._residents.values()):
            self._stop(resident)
        while self._tasks or self._loads:
            await asyncio.gather(*self._tasks, *self._loads, return_exceptions=True)
        if self._states:
            await asyncio.to_thread(shutil.rmtree, self._states, ignore_errors=True)


def life_of(settings: Settings) -> Life:
    return Life(settings.wishes, settings.residency, policy=settings.policy)
