"""Venice's guard against callers that keep failing: more than 20 failed requests in 30 s, and 30 s of nothing but 429.

It counts what it is told, per key, in this process; `shared_abuse` does so for all workers of a machine. It knows no status
and no key's rights; the caller decides what a failure is (a 4xx that is the request's own fault; never our 429, 402, 5xx).
"""

import time
from collections import deque
from collections.abc import Callable

SWEEP_AT = 10_000


class AbuseGuard:
    """`failures` in `window_s` are allowed; one more blocks for `block_s`. 0 failures allowed switches it off."""

    def __init__(
        self,
        failures: int = 20,
        window_s: float = 30.0,
        block_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.failures = failures
        self._window_s = window_s
        self._block_s = block_s
        self._clock = clock
        self._failed: dict[str, deque[float]] = {}
        self._until: dict[str, float] = {}

    def blocked_s(self, key_id: str) -> float:
        """How long this key has to wait; 0 if it may go on. Asked for every call."""
        if not self._until:
            return 0.0
        until = self._until.get(key_id)
        if until is None:
            return 0.0
        left = until - self._clock()
        if left <= 0:
            del self._until[key_id]
            return 0.0
        return left

    def failed(self, key_id: str) -> bool:
        """A request of this key failed; True if that was one too many."""
        if self.failures <= 0:
            return False
        now = self._clock()
        times = self._failed.get(key_id)
        if times is None:
            if len(self._failed) >= SWEEP_AT:
                self._failed = {key: kept for key, kept in self._failed.items() if kept[-1] > now - self._window_s}
            times = self._failed[key_id] = deque(maxlen=self.failures + 1)
        times.append(now)
        if len(times) <= self.failures or now - times[0] > self._window_s:
            return False
        self._until[key_id] = now + self._block_s
        del self._failed[key_id]
        return True
