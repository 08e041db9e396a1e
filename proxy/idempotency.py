"""Paying once for what is asked twice: answers under an `Idempotency-Key`.

A *flight* is a running call whose frames are kept, so that a second asker gets the same answer from its beginning. It
owns names, bodies' hashes, frames and how long they are kept; it knows no HTTP and no call. What went well under an
`Idempotency-Key` is kept for 24 h; what failed is not, so that a retry may go better. Calls without a key: `proxy.retries`.
"""

import asyncio
import hashlib
import os
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from typing import Protocol

import msgspec

from proxy.errors import BadRequest, Conflict, TraghettoError, Unavailable

DAY_US = 86_400_000_000
KEY_MAX = 255
LEASE_US = 15_000_000  # how long a claim stands without a sign of life from the process that runs the call
RENEW_S = 4.0
LOOK_S = 0.2  # how often the answer of another process is looked for
FRAMES_MAX = 8 << 20  # bytes of one answer; a longer one cannot be joined or kept
HELD_MAX = 64 << 20  # bytes of all answers in memory


Pair = tuple[bytes, bytes]  # a header


class Kept(msgspec.Struct, frozen=True):
    """An answer as it was given; `body` is all frames. With the status 0 a claim: somebody (`headers` say who) is at it, and
    was alive at `created_us`."""

    name: str
    body_hash: str
    created_us: int
    status: int = 0
    headers: list[tuple[str, str]] = []
    body: bytes = b""


class Replays(Protocol):
    """Where answers are kept for a day, for all processes. All of it raises Unavailable where they cannot be asked."""

    async def claim(self, claim: Kept, since_us: int, stale_us: int) -> Kept | None:
        """Take the name, in one step with the look whether it is taken. None: it is ours. Else who has it: an answer not
        older than `since_us`, or a claim renewed after `stale_us`."""
        ...

    async def put(self, kept: Kept) -> None:
        """The answer, in the place of its claim."""
        ...

    async def renew(self, names: list[str], claim: Kept) -> None:
        """These claims are still held, by who made `claim`, at its time."""
        ...

    async def drop(self, claim: Kept) -> None:
        """Give up a claim, if it is still this one's; an answer stays."""
        ...


def now_us() -> int:
    return time.time_ns() // 1000


def body_hash(*parts: bytes | memoryview) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def named(caller: str, route: str, key: str) -> str:
    """The name of an `Idempotency-Key`: of one caller and one route. Raises BadRequest for one that cannot be."""
    if not 0 < len(key) <= KEY_MAX:
        raise BadRequest(f"An Idempotency-Key has 1 to {KEY_MAX} characters.", param="Idempotency-Key")
    return hashlib.sha256("\0".join(("key", caller, route, key)).encode()).hexdigest()


class Flight:
    """A call that may be joined. The one who began it says `begin`, `add`, and `end` or `fail`; once each of the latter."""

    # Defaults, so that the many calls that nobody ever joins set few of them.
    status = 0
    headers: Sequence[Pair] = ()
    size = 0
    joined = 0  # who else waits for this answer: while there is one, the call must go on
    gone = False  # its own client has left
    alone: Callable[[], None] | None = None  # ends the call once its client and all who joined have left
    complete = False
    error: BaseException | None = None
    began = 0.0  # monotonic, s: its first frame
    too_long = False
    _waiting: Sequence[asyncio.Future[None]] = ()

    def __init__(self, name: str, hashed: str, on_end: Callable[["Flight"], None] | None = None) -> None:
        self.name = name
        self.body_hash = hashed
        self.frames: list[bytes] = []
        self._on_end = on_end

    @property
    def over(self) -> bool:
        return self.complete or self.error is not None

    def begin(self, status: int, headers: Sequence[Pair]) -> None:
        self.status, self.headers = status, headers
        self.began = time.monotonic()
        if self._waiting:
            self._move()

    def add(self, frame: bytes) -> None:
        self.size += len(frame)
        if self.size > FRAMES_MAX and not self.joined:
            self.shed()
        if not self.too_long:
            self.frames.append(frame)
        if self._waiting:
            self._move()

    def shed(self) -> None:
        """Forget the frames: nobody can join from here on."""
        self.too_long = True
        self.frames = []

    def end(self) -> None:
        """All frames were given."""
        if not self.over:
            self.complete = True
            self._land()

    def fail(self, error: BaseException) -> None:
        """It did not end well (or was given up): whoever joined gets the same error."""
        if not self.over:
            self.error = error
            self._land()

    def leave(self) -> None:
        """One who had joined goes. The last one out ends the call, if its own client has gone already."""
        self.joined -= 1
        if not self.joined and not self.over and self.gone and self.alone is not None:
            self.alone()

    def _land(self) -> None:
        if self.alone is not None:
            self.alone = None
        on_end, self._on_end = self._on_end, None
        if on_end is not None:
            on_end(self)
        if self._waiting:
            self._move()

    def _move(self) -> None:
        waiting, self._waiting = self._waiting, ()
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def moved(self) -> None:
        """Wait for whatever comes next."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting = (*self._waiting, future)
        await future

    async def started(self) -> tuple[int, Sequence[Pair]]:
        """Status and headers, as soon as there are any. Raises what the call failed with before that."""
        while not self.status:
            if self.error is not None:
                raise again(self.error)
            await self.moved()
        return self.status, self.headers

    async def follow(self) -> AsyncIterator[bytes]:
        """Every frame from the first, as they come: those that are there together. Raises what the call failed with."""
        at = 0
        while True:
            if at < len(self.frames):
                block = self.frames[at:]
                at += len(block)
                yield b"".join(block)
            elif self.error is not None:
                raise again(self.error)
            elif self.complete:
                return
            else:
                await self.moved()


def again(error: BaseException) -> TraghettoError:
    """What a call failed with, for one who had joined it."""
    return error if isinstance(error, TraghettoError) else Conflict("The call that this one repeats was given up.")


class MemoryReplays:
    """For a process without a database: the newest answers, up to HELD_MAX bytes."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._held = 0

    async def claim(self, claim: Kept, since_us: int, stale_us: int) -> Kept | None:
        found = self._kept.get(claim.name)
        if found is not None and found.created_us > (since_us if found.status else stale_us):
            return found
        self._set(claim)
        return None

    async def put(self, kept: Kept) -> None:
        self._set(kept)

    async def renew(self, names: list[str], claim: Kept) -> None:
        for name in names:
            if (found := self._kept.get(name)) is not None and not found.status and found.headers == claim.headers:
                self._set(msgspec.structs.replace(found, created_us=claim.created_us))

    async def drop(self, claim: Kept) -> None:
        found = self._kept.get(claim.name)
        if found is not None and not found.status and found.headers == claim.headers:
            del self._kept[claim.name]

    def _set(self, kept: Kept) -> None:
        old = self._kept.pop(kept.name, None)
        self._held += len(kept.body) - (len(old.body) if old is not None else 0)
        self._kept[kept.name] = kept
        while self._held > HELD_MAX:
            _, gone = self._kept.popitem(last=False)
            self._held -= len(gone.body)


class Idempotency:
    """The answers under keys, as one process sees them: its own flights, and everybody's in `replays`."""

    def __init__(self, replays: Replays | None = None, clock: Callable[[], int] = now_us) -> None:
        self._replays: Replays = replays or MemoryReplays()
        self._clock = clock
        self._flights: dict[str, Flight] = {}
        self._owned: set[str] = set()
        self._me = [("owner", os.urandom(12).hex())]
        self._renewing: asyncio.Task[None] | None = None

    def find(self, name: str, hashed: str) -> Flight | None:
        """A flight of this process to join.

        Raises:
            BadRequest: the name belongs to another body. Conflict: it is too long to be joined.
        """
        flight = self._flights.get(name)
        if flight is None:
            return None
        _must_equal(flight.body_hash, hashed)
        if flight.too_long:
            raise Conflict("The call that this one repeats is still running.", retry_after_s=1)
        return flight

    def take_off(self, name: str, hashed: str) -> Flight:
        """Begin a flight of this name; `find` has just said that there is none. It must be landed, whatever happens."""
        flight = self._flights[name] = Flight(name, hashed, self._landed)
        return flight

    async def earlier(self, flight: Flight) -> Kept | None:
        """The answer that another process gave under this name, waited for while it is at it. None: it is ours to give.

        Raises:
            BadRequest: the name belongs to another body. Unavailable.
        """
        while True:
            now = self._clock()
            claim = self._claim(flight.name, flight.body_hash)
            found = await self._replays.claim(claim, now - DAY_US, now - LEASE_US)
            if found is None:
                self._owned.add(flight.name)
                if self._renewing is None or self._renewing.done():
                    self._renewing = asyncio.get_running_loop().create_task(self._renew(), name="idempotency-renew")
                return None
            _must_equal(found.body_hash, flight.body_hash)
            if found.status:
                return found
            await asyncio.sleep(LOOK_S)

    async def keep(self, flight: Flight) -> bool:
        """Keep all frames so far as the answer, if it is a good one, for 24 h. Raises Unavailable."""
        if flight.too_long or not 200 <= flight.status < 300:
            await self.release(flight)
            return False
        body = b"".join(flight.frames)
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in flight.headers]
        await self._replays.put(Kept(flight.name, flight.body_hash, self._clock(), flight.status, headers, body))
        self._owned.discard(flight.name)
        return True

    async def release(self, flight: Flight) -> None:
        """There is no answer to keep: the name is free again. Raises Unavailable; the claim then ends by itself."""
        if flight.name in self._owned:
            self._owned.discard(flight.name)
            await self._replays.drop(self._claim(flight.name, flight.body_hash))

    def _claim(self, name: str = "", hashed: str = "") -> Kept:
        return Kept(name, hashed, self._clock(), 0, self._me)

    def _landed(self, flight: Flight) -> None:
        self._flights.pop(flight.name, None)

    async def _renew(self) -> None:
        """A sign of life for every claim, while there is one."""
        while self._owned:
            await asyncio.sleep(RENEW_S)
            if self._owned:
                with suppress(Unavailable):
                    await self._replays.renew(sorted(self._owned), self._claim())

    async def aclose(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)


def _must_equal(there: str, asked: str) -> None:
    if there != asked:
        raise BadRequest("This Idempotency-Key was used with another request body.", param="Idempotency-Key")
