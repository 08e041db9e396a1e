"""What we know of a target from the calls that went there: a breaker and a memory of how fast it is. Pure but for its clock.

A breaker opens after N failures in a row that the target is to blame for, refuses for `open_s`, then lets one call try.
A refused request (4xx) says nothing about health and never counts.
"""

import time
from collections.abc import Callable
from enum import StrEnum

import msgspec

from proxy.call import Target
from proxy.config import Breaker

DECAY = 0.2  # weight of the newest measurement in the moving averages


class State(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    TRYING = "trying"  # open, and one call is finding out


class Record(msgspec.Struct):
    """One target's memory. Times in seconds of the clock; averages are None until measured."""

    state: State = State.CLOSED
    failures: int = 0
    opened: float = 0.0
    ttft_s: float | None = None
    tokens_per_s: float | None = None
    calls: int = 0


class Health:
    """Of all targets of all snapshots: a reload forgets nothing."""

    def __init__(self, breaker: Breaker, clock: Callable[[], float] = time.monotonic) -> None:
        self.breaker = breaker
        self._clock = clock
        self._records: dict[tuple[str, str], Record] = {}

    def record(self, target: Target) -> Record:
        key = (target.upstream, target.model)
        found = self._records.get(key)
        if found is None:
            found = self._records[key] = Record()
        return found

    def open_for_s(self, target: Target) -> float:
        """Seconds until a call may go there; 0 when it may now. Advisory: `enter` decides."""
        record = self._records.get((target.upstream, target.model))
        if record is None or record.state is State.CLOSED:
            return 0.0
        left = record.opened + self.breaker.open_s - self._clock()
        if record.state is State.TRYING:
            return max(left, 1.0)
        return max(left, 0.0)

    def enter(self, target: Target) -> bool:
        """May this call go there? The first to ask after `open_s` becomes the trial."""
        record = self._records.get((target.upstream, target.model)) or self.record(target)
        if record.state is State.CLOSED:
            return True
        if self._clock() < record.opened + self.breaker.open_s:
            return False
        record.state, record.opened = State.TRYING, self._clock()
        return True

    def failed(self, target: Target) -> None:
        """The target is to blame."""
        record = self.record(target)
        record.failures += 1
        if record.state is State.TRYING or record.failures >= self.breaker.failures:
            record.state, record.opened = State.OPEN, self._clock()

    def answered(self, target: Target, ttft_s: float | None = None) -> None:
        """The target gave a first frame (or refused the request knowingly)."""
        record = self._records.get((target.upstream, target.model)) or self.record(target)
        record.failures, record.state = 0, State.CLOSED
        record.calls += 1
        if ttft_s is not None:
            old = record.ttft_s
            record.ttft_s = ttft_s if old is None else old + DECAY * (ttft_s - old)

    def left(self, target: Target) -> None:
        """The call ended without a verdict (its client went away): a trial becomes possible again."""
        record = self.record(target)
        if record.state is State.TRYING:
            record.state, record.opened = State.OPEN, self._clock() - self.breaker.open_s

    def flowed(self, target: Target, tokens: int, seconds: float) -> None:
        """A stream of `tokens` took `seconds` after its first frame."""
        if tokens >= 8 and seconds > 0:
            record = self.record(target)
            record.tokens_per_s = _averaged(record.tokens_per_s, tokens / seconds)


def _averaged(old: float | None, new: float) -> float:
    return new if old is None else old + DECAY * (new - old)
