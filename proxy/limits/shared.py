"""The buckets of all workers of one machine, in a mapped file (`shared_file`). Synchronous: some twenty µs a call.

It knows records of the file and the arithmetic of `reference`, no Redis and no call. A worker that dies gives its slots
and budgets back at once, because the kernel drops its lock; what it took from rates stays spent.
"""

import hashlib
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from proxy.limits.memory import held_wait_us, monotonic_us
from proxy.limits.quota import Quota
from proxy.limits.reference import DAY_US, Bucket, Level, Measure, debit, fresh, refill, settle, wait_us
from proxy.limits.shared_file import BODY_AT, HEAD, WORKERS, SharedBusy, SharedFile, SharedFull
from proxy.limits.store import Ask, Grant, Refusal, Shortfall, Used, final

_RATE, _HELD = 1, 2
_BODY = struct.Struct(f"<{WORKERS}q")
_PAIR = struct.Struct("<2q")


class Slots:
    """The state of a held bucket: what is spent for good, and what each worker holds."""

    __slots__ = ("held", "unseeded", "used")

    def __init__(self, used: int, held: list[int], *, unseeded: bool = False) -> None:
        self.used = used
        self.held = held
        self.unseeded = unseeded  # a budget that nobody has told what was spent before


class SharedStore:
    """A LimitStore of up to 64 processes. Make it in the worker, after the fork; `clock` must be one clock for all."""

    def __init__(self, path: Path, clock: Callable[[], int] = monotonic_us, records: int = 8192) -> None:
        self._clock = clock
        self._file = SharedFile(path, records)
        self._keys: dict[str, bytes] = {}
        self._late: list[tuple[Grant, Used | None]] = []  # ended while the file could not be had
        self._inherit()

    def _inherit(self) -> None:
        """Whoever had this worker's number before is dead: what it held is free."""
        with self._file as file:
            for place, data in file.each():
                if HEAD.unpack_from(data)[1] != _HELD:
                    continue
                held = list(_BODY.unpack_from(data, BODY_AT))
                if held[file.worker]:
                    held[file.worker] = 0
                    self._write_now(place, data, held)

    def _write_now(self, place: int, data: bytes, held: list[int]) -> None:
        self._file.change(place, data[:BODY_AT] + _BODY.pack(*held))
        self._file.flush()

    def quick(self, quota: Quota, tokens: int | None, purse: Ask | None) -> Grant | None:
        """Others count, too: nothing can be prepared."""
        del quota, tokens, purse
        return None

    def reserve_now(self, asks: Sequence[Ask]) -> Grant | Refusal:
        try:
            with self._file:
                return self._reserve(asks, self._clock())
        except (SharedBusy, SharedFull):
            return Refusal((), unreachable=True)

    async def reserve(self, asks: Sequence[Ask]) -> Grant | Refusal:
        return self.reserve_now(asks)

    def _reserve(self, asks: Sequence[Ask], now: int) -> Grant | Refusal:
        found: list[tuple[int, Level | Slots]] = []
        short: list[Shortfall] = []
        for bucket, amount in asks:
            place, state = self._load(bucket, now)
            if isinstance(state, Slots) and state.unseeded:
                return Refusal((), unreachable=True)
            found.append((place, state))
            if isinstance(state, Slots):
                have = bucket.capacity - state.used - sum(state.held)
                if amount > have and self._reap(state):
                    have = bucket.capacity - state.used - sum(state.held)
                if amount > have:
                    short.append(Shortfall(bucket, amount, have, held_wait_us(bucket, amount)))
            elif amount * bucket.q > state.level:
                have = state.level // bucket.q
                short.append(Shortfall(bucket, amount, have, wait_us(bucket, state, amount)))
        if short:
            return Refusal(short)
        marks: list[int] = []
        left: list[int] = []
        for (bucket, amount), (place, state) in zip(asks, found, strict=True):
            if isinstance(state, Slots):
                state.held[self._file.worker] += amount
                marks.append(0)
                left.append(bucket.capacity - state.used - sum(state.held))
            else:
                marks.append(debit(bucket, state, amount, now))
                left.append(state.level // bucket.q)
            self._save(bucket, place, state, now)
        return Grant(asks, marks, left)

    def _reap(self, state: Slots) -> bool:
        """Take back what dead workers hold of this bucket."""
        dead = [number for number, held in enumerate(state.held) if held and not self._file.alive(number)]
        for number in dead:
            state.held[number] = 0
        return bool(dead)

    def settle(self, grant: Grant, used: Used) -> None:
        self._end(grant, used)

    def cancel(self, grant: Grant) -> None:
        self._end(grant, None)

    def _end(self, grant: Grant, used: Used | None) -> None:
        """Whoever ends a call cannot be told to try again: what the file would not take is ended with a later call."""
        if not grant.open:
            return
        grant.open = False
        self._late.append((grant, used))
        with suppress(SharedBusy, SharedFull):
            while self._late:
                with self._file:
                    self._give_back(*self._late[-1])
                self._late.pop()

    def _give_back(self, grant: Grant, used: Used | None) -> None:
        now = self._clock()
        for (bucket, reserved), mark in zip(grant.asks, grant.marks, strict=True):
            spent = final(bucket, reserved, used)
            if not bucket.held and spent == reserved:
                continue
            place, state = self._load(bucket, now)
            if isinstance(state, Slots):
                state.held[self._file.worker] -= reserved
                state.used += spent
            else:
                if not state.tide:  # another life of this bucket: it was full in between
                    debit(bucket, state, 0, now)
                settle(bucket, state, mark, reserved, spent, now)
            self._save(bucket, place, state, now)

    def peek(self, bucket: Bucket) -> int:
        try:
            with self._file:
                _, state = self._load(bucket, self._clock())
        except (SharedBusy, SharedFull):
            return 0
        if isinstance(state, Slots):
            return bucket.capacity - state.used - sum(state.held)
        return state.level // bucket.q

    def seed(self, bucket: Bucket, spent: int) -> None:
        with suppress(SharedBusy, SharedFull), self._file as file:
            now = self._clock()
            place, there = file.find(self._key(bucket), now)
            if not there:
                self._save(bucket, place, Slots(spent, [0] * WORKERS), now)

    def seeded(self, bucket: Bucket) -> bool:
        try:
            with self._file as file:
                return file.find(self._key(bucket), self._clock())[1]
        except (SharedBusy, SharedFull):
            return False

    async def start(self) -> None:
        """Open since it was made."""

    async def aclose(self) -> None:
        self._file.close()

    # -- records

    def _key(self, bucket: Bucket) -> bytes:
        key = self._keys.get(bucket.name)
        if key is None:
            if len(self._keys) > 50_000:
                self._keys.clear()
            key = self._keys[bucket.name] = hashlib.blake2b(bucket.name.encode(), digest_size=16).digest()
        return key

    def _load(self, bucket: Bucket, now: int) -> tuple[int, Level | Slots]:
        place, there = self._file.find(self._key(bucket), now)
        if not there:
            unseeded = bucket.measure is Measure.BUDGET
            return place, Slots(0, [0] * WORKERS, unseeded=unseeded) if bucket.held else fresh(bucket, now)
        data = self._file.read(place)
        _, _, value, at, seq, q, marks, _, _ = HEAD.unpack_from(data)
        if bucket.held:
            return place, Slots(value, list(_BODY.unpack_from(data, BODY_AT)))
        body = data[BODY_AT : BODY_AT + 16 * marks]
        state = Level(value, at, q, seq, [list(pair) for pair in _PAIR.iter_unpack(body)])
        refill(bucket, state, now)
        return place, state

    def _save(self, bucket: Bucket, place: int, state: Level | Slots, now: int) -> None:
        key = self._key(bucket)
        if isinstance(state, Slots):
            # a free slot may be forgotten at once, a budget when its epoch must be over
            idle = bucket.capacity > 0 and not state.used and not any(state.held)
            spare_at = now if idle and bucket.measure.value == "CONCURRENT" else now + 2 * DAY_US
            head = HEAD.pack(key, _HELD, state.used, now, 0, 1, 0, 0, spare_at)
            self._file.change(place, head + _BODY.pack(*state.held))
            return
        missing = bucket.full - state.level
        spare_at = now + (-(-missing // bucket.p) if bucket.p else 2 * DAY_US)
        head = HEAD.pack(key, _RATE, state.level, state.at, state.seq, state.q, len(state.tide), 0, spare_at)
        self._file.change(place, head + b"".join([_PAIR.pack(*mark) for mark in state.tide]))
