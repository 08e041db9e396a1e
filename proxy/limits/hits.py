"""The limits that were exceeded: which, by how much, and when the same call would have passed.

A refusal is noted at once, in memory; `flush` brings the last fifty to the database now and then, so that any worker can
answer for all (`proxy.ledger.hitrows`). A flood of refusals costs fifty rows a flush, whatever its size.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from proxy.limits.store import Refusal

KEEP = 50


class Hit(msgspec.Struct, frozen=True):
    """One refusal. `have` and `need` in the bucket's unit; `passes_us` None: not in this epoch, or never."""

    id: str
    at_us: int
    key_id: str
    model: str
    tier: str
    measure: str
    need: int
    have: int
    passes_us: int | None


class HitRows(Protocol):
    async def add(self, hits: Sequence[Hit]) -> None: ...

    async def last(self, count: int, key_id: str | None = None) -> list[Hit]: ...


class MemoryHits:
    """HitRows of one process, where nothing is kept on disk."""

    def __init__(self) -> None:
        self._hits: deque[Hit] = deque(maxlen=20 * KEEP)

    async def add(self, hits: Sequence[Hit]) -> None:
        self._hits.extendleft(hits)

    async def last(self, count: int, key_id: str | None = None) -> list[Hit]:
        return [hit for hit in self._hits if key_id in (None, hit.key_id)][:count]


def now_us() -> int:
    return time.time_ns() // 1000


class HitLog:
    def __init__(self, rows: HitRows, clock: Callable[[], int] = now_us) -> None:
        self._rows = rows
        self._clock = clock
        self._pending: deque[Hit] = deque(maxlen=KEEP)

    def note(self, key_id: str, refusal: Refusal, model: str = "") -> None:
        """Remember every bucket that was short."""
        now = self._clock()
        for item in refusal.short:
            bucket = item.bucket
            self._pending.append(
                Hit(
                    id=os.urandom(12).hex(),
                    at_us=now,
                    key_id=key_id,
                    model=model or bucket.model,
                    tier=bucket.tier,
                    measure=bucket.measure.value,
                    need=item.need,
                    have=item.have,
                    passes_us=None if item.wait_us is None else now + item.wait_us,
                )
            )

    async def flush(self) -> None:
        """Write down what is pending; what cannot be written stays. Raises database errors."""
        hits = list(self._pending)
        if not hits:
            return
        await self._rows.add(hits)
        written = {hit.id for hit in hits}
        self._pending = deque((hit for hit in self._pending if hit.id not in written), maxlen=KEEP)

    async def last(self, key_id: str | None = None) -> list[Hit]:
        """The last fifty, newest first, of one key or of all."""
        await self.flush()
        return await self._rows.last(KEEP, key_id)
