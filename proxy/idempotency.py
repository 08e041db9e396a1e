"""Paying once for what is asked twice: `Idempotency-Key`, and an SDK's retry of a call that is still running.

A *flight* is a running call whose frames are kept, so that a second asker gets the same answer from its beginning. It
owns names, bodies' hashes, frames and how long they are kept; it knows no HTTP and no call. What went well under an
`Idempotency-Key` is kept for 24 h in the database; what failed is not, so that a retry may go better.
"""

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from typing import Protocol

import msgspec

from proxy.errors import BadRequest, Conflict, TraghettoError

DAY_US = 86_400_000_000
KEY_MAX = 255
LINGER_US = 10_000_000  # how long after its end an SDK's retry still finds a call
FRAMES_MAX = 8 << 20  # bytes of one answer; a longer one cannot be joined or kept
HELD_MAX = 64 << 20  # bytes of all that have ended


class Kept(msgspec.Struct, frozen=True):
    """An answer as it was given. `body` is all frames."""

    name: str
    body_hash: str
    created_us: int
    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Replays(Protocol):
    """Where answers are kept for a day."""

    async def get(self, name: str, since_us: int) -> Kept | None: ...

    async def put(self, kept: Kept, since_us: int) -> None: ...


def now_us() -> int:
    return time.time_ns() // 1000


def body_hash(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def named(caller: str, route: str, key: str) -> str:
    """The name of an `Idempotency-Key`: of one caller and one route. Raises BadRequest for one that is too long."""
    if len(key) > KEY_MAX:
        raise BadRequest(f"Idempotency-Key is longer than {KEY_MAX} characters.", param="Idempotency-Key")
    return hashlib.sha256("\0".join(("key", caller, route, key)).encode()).hexdigest()


def retried(caller: str, route: str, hashed: str) -> str:
    """The name of a call without a key, for the retries of an SDK."""
    return hashlib.sha256("\0".join(("retry", caller, route, hashed)).encode()).hexdigest()


class Flight:
    """A call that may be joined. The one who began it says `begin`, `add`, and `end` or `fail`; once each of the latter."""

    def __init__(self, name: str, hashed: str, on_end: Callable[["Flight"], None]) -> None:
        self.name = name
        self.body_hash = hashed
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self.frames: list[bytes] = []
        self.size = 0
        self.joined = 0  # who else waits for this answer: while there is one, the call must go on
        self.complete = False
        self.error: BaseException | None = None
        self.ended_us = 0
        self.too_long = False
        self._on_end = on_end
        self._moved = asyncio.Event()

    @property
    def over(self) -> bool:
        return self.complete or self.error is not None

    def begin(self, status: int, headers: list[tuple[str, str]]) -> None:
        self.status, self.headers = status, headers
        self._move()

    def add(self, frame: bytes) -> None:
        self.size += len(frame)
        if self.size > FRAMES_MAX and not self.joined:
            self.too_long = True
            self.frames.clear()
        if not self.too_long:
            self.frames.append(frame)
        self._move()

    def end(self) -> None:
        """All frames were given."""
        if not self.over:
            self.complete = True
            self._on_end(self)
            self._move()

    def fail(self, error: BaseException) -> None:
        """It did not end well (or was given up): whoever joined gets the same error."""
        if not self.over:
            self.error = error
            self._on_end(self)
            self._move()

    def _move(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    async def started(self) -> tuple[int, list[tuple[str, str]]]:
        """Status and headers, as soon as there are any. Raises what the call failed with before that."""
        while not self.status:
            if self.error is not None:
                raise _again(self.error)
            await self._moved.wait()
        return self.status, self.headers

    async def follow(self) -> AsyncIterator[bytes]:
        """Every frame from the first, as they come. Raises what the call failed with."""
        at = 0
        while True:
            moved = self._moved
            while at < len(self.frames):
                yield self.frames[at]
                at += 1
            if self.error is not None:
                raise _again(self.error)
            if self.complete:
                return
            if moved is self._moved:
                await moved.wait()


def _again(error: BaseException) -> TraghettoError:
    return error if isinstance(error, TraghettoError) else Conflict("The call that this one repeats was given up.")


class Idempotency:
    """Of one worker; answers that are kept for a day are everybody's (`replays`)."""

    def __init__(self, replays: Replays | None = None, clock: Callable[[], int] = now_us) -> None:
        self._replays = replays
        self._clock = clock
        self._flights: dict[str, Flight] = {}
        self._ended: OrderedDict[str, Flight] = OrderedDict()
        self._held = 0

    def take_off(self, name: str, hashed: str) -> Flight:
        """Begin a flight of this name; `find` has just said that there is none."""
        flight = Flight(name, hashed, self._landed)
        self._flights[name] = flight
        return flight

    def find(self, name: str, hashed: str) -> Flight | None:
        """A flight to join: running, or ended so recently that an SDK's retry may mean it.

        Raises:
            BadRequest: the name belongs to another body. Conflict: it is too long to be joined.
        """
        self._sweep()
        flight = self._flights.get(name) or self._ended.get(name)
        if flight is None:
            return None
        if flight.body_hash != hashed:
            raise BadRequest("This Idempotency-Key was used with another request body.", param="Idempotency-Key")
        if flight.too_long:
            raise Conflict("The call that this one repeats is still running.")
        return flight

    async def kept(self, name: str, hashed: str) -> Kept | None:
        """An answer of the last 24 h under this name. Raises BadRequest as `find`, and database errors."""
        if self._replays is None:
            return None
        kept = await self._replays.get(name, self._clock() - DAY_US)
        if kept is not None and kept.body_hash != hashed:
            raise BadRequest("This Idempotency-Key was used with another request body.", param="Idempotency-Key")
        return kept

    async def keep(self, flight: Flight) -> bool:
        """Keep the answer of a flight that ended well (2xx) for 24 h; False if there is nothing to keep."""
        if self._replays is None or not flight.complete or flight.too_long or not 200 <= flight.status < 300:
            return False
        now = self._clock()
        body = b"".join(flight.frames)
        kept = Kept(flight.name, flight.body_hash, now, flight.status, flight.headers, body)
        await self._replays.put(kept, now - DAY_US)
        return True

    def _landed(self, flight: Flight) -> None:
        self._flights.pop(flight.name, None)
        flight.ended_us = self._clock()
        if flight.complete and not flight.too_long and 200 <= flight.status < 300:
            self._ended[flight.name] = flight
            self._held += flight.size
        self._sweep()

    def _sweep(self) -> None:
        old = self._clock() - LINGER_US
        while self._ended:
            name, flight = next(iter(self._ended.items()))
            if flight.ended_us > old and self._held <= HELD_MAX:
                return
            del self._ended[name]
            self._held -= flight.size
