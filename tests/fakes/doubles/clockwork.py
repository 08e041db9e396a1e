"""Time in a double: token buckets, latencies and the steps that a job passes.

It owns nothing of HTTP; steps pass by the clock or, in a manual double, one at a time by hand.
"""

import asyncio
import contextlib
import itertools
import time
from dataclasses import dataclass
from typing import Self


@dataclass(slots=True)
class Bucket:
    """A token bucket: `take` says (granted, whole tokens left, seconds until the next one)."""

    per_second: float
    burst: float
    level: float = -1.0
    stamp: float = 0.0

    def take(self) -> tuple[bool, int, float]:
        now = time.monotonic()
        full = self.level < 0
        self.level = self.burst if full else min(self.burst, self.level + (now - self.stamp) * self.per_second)
        self.stamp = now
        granted = self.level >= 1
        if granted:
            self.level -= 1
        wait = max(0.0, (1 - self.level) / self.per_second) if self.per_second else 3600.0
        return granted, int(self.level), wait


@dataclass(frozen=True, slots=True)
class Pace:
    """Latencies in seconds. The defaults keep a suite quick; `slow` shows queues and cold starts."""

    queue: float = 0.05
    first: float = 0.05
    token: float = 0.02
    image: float = 0.3
    cold: float = 0.2

    @classmethod
    def slow(cls) -> Self:
        return cls(queue=2.0, cold=5.0)

    @classmethod
    def quick(cls) -> Self:
        return cls(queue=0.01, first=0.005, token=0.001, image=0.02, cold=0.03)


class Timeline:
    """The steps that a job passes, by time (seconds between steps) or, when manual, one `advance` at a time."""

    def __init__(self, delays: list[float], *, manual: bool = False) -> None:
        self.marks = list(itertools.accumulate(delays, initial=time.monotonic()))[1:]
        self.manual = manual
        self._by_hand = 0
        self._frozen: int | None = None
        self._moved = asyncio.Event()

    @property
    def position(self) -> int:
        """How many steps have been passed."""
        if self._frozen is not None:
            return self._frozen
        now = time.monotonic()
        return self._by_hand if self.manual else sum(1 for mark in self.marks if mark <= now)

    @property
    def frozen(self) -> bool:
        return self._frozen is not None

    def advance(self, steps: int = 1) -> None:
        self._by_hand = min(len(self.marks), self._by_hand + steps)
        self._wake()

    def freeze(self) -> None:
        """Stop where it stands (cancelled, aborted)."""
        self._frozen = self.position
        self._wake()

    def _wake(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()

    async def reach(self, step: int) -> bool:
        """Wait until `step` steps are passed; False when it was frozen before that."""
        while self.position < step:
            if self.frozen:
                return False
            wait = None if self.manual else max(0.0, self.marks[step - 1] - time.monotonic()) + 0.0005
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._moved.wait(), wait)
        return True
