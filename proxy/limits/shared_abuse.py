"""The same guard as `abuse`, for all workers of one machine together: a key's failures and its block stand in a mapped file.

It knows records of `shared_file`, no status and no call. Asking whether a key is blocked takes no lock: one look at one
place of the map. While the file cannot be had (a stopped holder, no room left) this process counts by itself.
"""

import hashlib
import struct
from collections.abc import Callable

from proxy.limits.abuse import AbuseGuard
from proxy.limits.memory import monotonic_us
from proxy.limits.shared_file import BODY_AT, HEAD, WORKERS, SharedBusy, SharedFile, SharedFull

FAILURES_MAX = WORKERS  # times that a record has room for
RECORDS = 4096
_KIND = 3
_BODY = struct.Struct(f"<{FAILURES_MAX}q")


class SharedGuard(AbuseGuard):
    """Figures as `AbuseGuard`'s, `failures` at most `FAILURES_MAX`. `clock` (µs) must be one clock for all."""

    def __init__(
        self,
        file: SharedFile,
        failures: int = 20,
        window_s: float = 30.0,
        block_s: float = 30.0,
        clock: Callable[[], int] = monotonic_us,
    ) -> None:
        super().__init__(failures, window_s, block_s, lambda: clock() / 1e6)
        self._file = file
        self._now_us = clock
        self._window_us = int(window_s * 1e6)
        self._block_us = int(block_s * 1e6)
        self._keys: dict[str, bytes] = {}

    def blocked_s(self, key_id: str) -> float:
        alone = super().blocked_s(key_id)
        found = self._file.glance(self._key(key_id))
        if found is None:
            return alone
        until: int = HEAD.unpack_from(found)[2]
        return max(alone, (until - self._now_us()) / 1e6)

    def failed(self, key_id: str) -> bool:
        if self.failures <= 0:
            return False
        try:
            with self._file:
                return self._failed_here(self._key(key_id), self._now_us())
        except (SharedBusy, SharedFull):
            return super().failed(key_id)

    def _failed_here(self, key: bytes, now: int) -> bool:
        place, there = self._file.find(key, now)
        until, times = 0, [now]
        if there:
            data = self._file.read(place)
            _, _, until, _, _, _, count, _, _ = HEAD.unpack_from(data)
            known = _BODY.unpack_from(data, BODY_AT)[:count]
            times = [*(at for at in known if now - at <= self._window_us), now]
        blocks = len(times) > self.failures
        if blocks:
            until, times = now + self._block_us, []
        spare_at = max(until, now + self._window_us)
        head = HEAD.pack(key, _KIND, until, now, 0, 1, len(times), 0, spare_at)
        self._file.change(place, head + _BODY.pack(*times, *[0] * (FAILURES_MAX - len(times))))
        return blocks

    def _key(self, key_id: str) -> bytes:
        key = self._keys.get(key_id)
        if key is None:
            if len(self._keys) > 50_000:
                self._keys.clear()
            key = self._keys[key_id] = hashlib.blake2b(key_id.encode(), digest_size=16).digest()
        return key
