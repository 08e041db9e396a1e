"""When a job is looked at, and what a look shows: the numbers and values under the job engine.

It owns the polling schedule, the phases of a job and the engine's idea of time; it refuses to know tasks, upstreams and
sockets. Everything here is a pure function or a value, but for the real clock and the number of workers.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

SCHEDULE_S = (0.25, 0.5, 0.5, 1.0, 1.0, 2.0, 2.0, 5.0)
LIVE_S = 0.3  # text that is read by polling
HINTED_S = 20.0  # a webhook says when to look; polling is only the safety net
ABANDONED_S = 15.0  # nobody waits: only the slot is at stake
JITTER = 0.2
SHARE = 0.5  # of the reads that the upstream allows
BURST = 2  # reads that may follow each other at once
LOST_AFTER = 5  # consecutive 404s, once the job has been seen
NEVER_SEEN_AFTER = 20  # consecutive 404s for a job that has not been seen at all
CANCEL_S = 5.0
READ_S = 30.0


class Phase(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELED = "canceled"


class Manner(StrEnum):
    """How a job is followed: on the schedule, every 0.3 s while its text grows, or rarely since a webhook hints."""

    STEADY = "steady"
    LIVE = "live"
    HINTED = "hinted"


@dataclass(frozen=True, slots=True)
class Look:
    """What one read showed. `position` in the queue from 0, `percent` 0 … 100, `text` all text so far, `body` for the adapter."""

    phase: Phase
    body: Any = None
    position: int | None = None
    percent: float | None = None
    text: str | None = None

    @property
    def over(self) -> bool:
        return self.phase in (Phase.DONE, Phase.FAILED, Phase.CANCELED)

    @property
    def note(self) -> str:
        """One line for a keep-alive comment: never anything that the upstream wrote."""
        parts = [f"status={self.phase}"]
        if self.position is not None:
            parts.append(f"queue_position={self.position}")
        if self.percent is not None:
            parts.append(f"progress={self.percent:.0f}%")
        return " ".join(parts)


def wait_s(reads: int, misses: int, look: Look | None, manner: Manner, *, abandoned: bool) -> float:
    """Seconds until a job's next read, before jitter and floor."""
    if misses:
        return min(5.0, 0.5 * 2.0 ** (misses - 1))
    if abandoned:
        return ABANDONED_S
    if manner is Manner.HINTED:
        return HINTED_S
    if manner is Manner.LIVE and look is not None and look.phase is Phase.RUNNING:
        return LIVE_S
    return SCHEDULE_S[min(reads, len(SCHEDULE_S) - 1)]


def workers() -> int:
    """How many processes of this server ask the same upstreams; each has an engine of its own."""
    said = os.environ.get("TRAGHETTO_WORKERS", "")
    return max(1, int(said)) if said.isdecimal() else 1


class Followed(Protocol):
    """A job, as far as its latest look goes."""

    @property
    def latest(self) -> Look | None: ...


def note_of(seen: Sequence[Followed]) -> str:
    """How the last of these jobs goes, in a line."""
    latest = seen[-1].latest if seen else None
    return latest.note if latest is not None else "submitted"


class Clock(Protocol):
    """Time as the engine sees it; a test brings its own."""

    def now(self) -> float: ...

    async def wait(self, wake: asyncio.Event, until: float) -> None:
        """Return when `wake` is set or `until` has come."""
        ...


class Monotonic:
    """The machine's monotonic clock."""

    def now(self) -> float:
        return time.monotonic()

    async def wait(self, wake: asyncio.Event, until: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, until - self.now())):
                await wake.wait()
