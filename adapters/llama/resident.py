"""A model that has a place in memory, as data: who uses it, since when, until when; and the right to use it.

Owns what is counted and what is told of a resident. Refuses to decide anything: who gets a place, who must go and when
is `life`'s. Invariant: a Hold gives back once, however often it is released.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

import msgspec

from adapters.llama.footprint import Footprint, Wishes, memory_of
from adapters.llama.generation import Generation
from adapters.llama.spec import Embed, Generate, ModelInfo
from adapters.llama.supervisor import Engine, Policy

Progress = Callable[[float], None]


class Residency(msgspec.Struct, frozen=True, kw_only=True):
    """`keep_s` after its last call a model is unloaded: 0 at once, negative never. Times in seconds."""

    keep_s: float = 1800.0
    max_loaded: int = 2
    patience_s: float = 10.0


class Settings(msgspec.Struct, frozen=True):
    """What a `Life` is made of. `name` is the upstream's: another one has its own models."""

    name: str
    wishes: Wishes
    residency: Residency
    policy: Policy


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """One resident (or what is known of a model that waits for a place, or failed), for the admin routes and `models`.

    Bytes and seconds; `created`, `used` and `expires` are Unix times, `expires` None while it is used or kept for ever.
    """

    path: str
    state: str  # waiting loading ready restarting draining failed stopping
    progress: float = 0.0
    users: int = 0
    served: int = 0
    parallel: int = 0
    keep_s: float = 0.0
    idle_s: float = 0.0
    created: float = 0.0
    used: float = 0.0
    expires: float | None = None
    restarts: int = 0
    estimated: int = 0
    measured: int = 0
    reason: str = ""
    info: ModelInfo | None = None


class Resident:
    """A model that has a place."""

    def __init__(self, path: str, keep_s: float, wishes: Wishes) -> None:
        self.path = path
        self.keep_s = keep_s
        self.wishes = wishes
        self.engine: Engine | None = None
        self.footprint = Footprint(weights=0, kv=0, compute=0)
        self.users = 0
        self.served = 0
        self.created = self.used = time.time()
        self.claimed = False  # those for whom it was placed have come
        self.placed_at = time.monotonic()
        self.idle_since = time.monotonic()
        self.draining = False
        self.stopping = False
        self.listeners: set[Progress] = set()
        self.timer: asyncio.TimerHandle | None = None
        self.loading: asyncio.Task[Engine] | None = None

    @property
    def state(self) -> str:
        if self.stopping or self.draining:
            return "stopping" if self.stopping else "draining"
        if self.engine is None or self.engine.state in ("stopped", "starting"):
            return "loading"
        return self.engine.state

    @property
    def parallel(self) -> int:
        """Sequences at once; 0 while that is not decided."""
        return self.wishes.parallel or 0 if self.engine is None else self.engine.setup.n_seq

    def status(self) -> Status:
        engine = self.engine
        idle = 0.0 if self.users else time.monotonic() - self.idle_since
        failure = None if engine is None else engine.failure
        return Status(
            path=self.path,
            state=self.state,
            progress=0.0 if engine is None else engine.progress,
            users=self.users,
            served=self.served,
            parallel=self.parallel,
            keep_s=self.keep_s,
            idle_s=idle,
            created=self.created,
            used=self.used,
            expires=None if self.timer is None else time.time() + max(self.keep_s - idle, 0.0),
            restarts=0 if engine is None else engine.restarts,
            estimated=self.footprint.total,
            measured=0 if engine is None or engine.pid is None else memory_of(engine.pid),
            reason="" if failure is None else failure.message,
            info=None if engine is None else engine.info,
        )

    def report(self, share: float) -> None:
        for listener in list(self.listeners):
            listener(share)


class Serving(Protocol):
    """A loaded model, as those who hold it use it."""

    info: ModelInfo | None

    def submit(self, request: Generate) -> Generation: ...

    async def embed(self, request: Embed) -> tuple[bytes, int]: ...


class Keeper(Protocol):
    """Who has models in memory: `Life` here, or another process. See `Life`."""

    async def acquire(self, path: str, on_progress: Progress | None = None) -> "Hold": ...

    async def load(
        self,
        path: str,
        *,
        parallel: int | None = None,
        keep_s: float | None = None,
        on_progress: Progress | None = None,
    ) -> Status: ...

    async def begin_load(self, path: str, *, parallel: int | None = None, keep_s: float | None = None) -> None: ...

    async def unload(self, path: str) -> bool: ...

    async def begin_unload(self, path: str) -> bool: ...

    def status(self) -> list[Status]: ...

    def status_of(self, path: str) -> Status | None: ...

    async def aclose(self) -> None: ...


class Hold:
    """The right to use a loaded engine until `release`, which is synchronous and idempotent."""

    __slots__ = ("_release", "engine")

    def __init__(self, engine: Serving, release: Callable[[], None]) -> None:
        self.engine = engine
        self._release: Callable[[], None] | None = release

    def release(self) -> None:
        release, self._release = self._release, None
        if release is not None:
            release()
