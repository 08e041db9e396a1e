"""An SDK's own retries: one that says so finds the call that it repeats, as long as that runs or has just ended.

It remembers calls of clients that count their retries (`x-stainless-retry-count`), by caller, route and body, compared byte
by byte: nothing is hashed. A retry takes over the answer of one call, and no two retries of equal calls take the same one.
It knows no HTTP. Invariants: frames are held for seconds, and never more than HELD_MAX bytes of calls that have ended.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable

from proxy.idempotency import Flight

LINGER_S = 10.0  # how long after its end a call is still found: SDKs wait up to 8 s
HEAD_S = 5.0  # after so long a stream's client has its beginning, and SDKs do not retry any more
HELD_MAX = 32 << 20
OVERHEAD = 1500  # bytes of a call beside its body and its answer, measured
SWEEP_S = 1.0


class Trip(Flight):
    """A flight without a key. `count` is that of the latest try that it answers."""

    ended_at = 0.0
    held = 0

    def __init__(self, caller: str, route: str, body: bytes, count: int, on_end: Callable[[Flight], None]) -> None:
        self.frames = []
        self._on_end = on_end
        self.place = (caller, route, len(body))
        self.body = body
        self.count = count


class Retries:
    """The calls of one process that a retry may mean."""

    def __init__(self) -> None:
        self._trips: dict[tuple[str, str, int], dict[Trip, None]] = {}
        self._running: dict[Flight, Trip] = {}
        self._ended: deque[Trip] = deque()
        self._held = 0
        self._sweeping: asyncio.TimerHandle | None = None

    def begin(self, caller: str, route: str, body: bytes, count: int) -> Trip:
        """Remember a call from now on. It must be landed (`end` or `fail`), whatever happens."""
        trip = Trip(caller, route, body, count, self._landed)
        equal = self._trips.get(trip.place)
        if equal is None:
            self._trips[trip.place] = {trip: None}
        else:
            equal[trip] = None
        self._running[trip] = trip
        if self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)
        return trip

    def find(self, caller: str, route: str, body: bytes, count: int) -> Trip | None:
        """The call that try number `count` (from 1) repeats, which is then taken; None if there is none.

        One whose client has left comes first. Then one that failed, if any (it has an `error`): its retry is to go better,
        as a call of its own. Only then one of which we know nothing bad: its answer may have been lost on the way.
        """
        equal = [
            trip
            for trip in self._trips.get((caller, route, len(body)), ())
            if trip.count < count and trip.body == body and not (trip.too_long and trip.error is None)
        ]
        if not equal:
            return None
        left = [trip for trip in equal if trip.gone and trip.error is None]
        failed = [trip for trip in equal if trip.error is not None]
        found = (left or failed or equal)[0]
        found.count = count
        return found

    def _landed(self, flight: Flight) -> None:
        trip = self._running.pop(flight, None)
        if trip is None:
            return
        if trip.error is not None and not trip.joined:
            trip.shed()
        trip.ended_at = time.monotonic()
        trip.held = OVERHEAD + len(trip.body) + (0 if trip.too_long else trip.size)
        self._ended.append(trip)
        self._held += trip.held
        if self._held > HELD_MAX:
            self._shrink(trip.ended_at)

    def _shrink(self, now: float) -> None:
        while self._ended and (self._held > HELD_MAX or now - self._ended[0].ended_at > LINGER_S):
            trip = self._ended.popleft()
            self._held -= trip.held
            self._forget(trip)

    def _forget(self, trip: Trip) -> None:
        equal = self._trips.get(trip.place)
        if equal is not None:
            equal.pop(trip, None)
            if not equal:
                del self._trips[trip.place]

    def _sweep(self) -> None:
        """Once a second: what has ended long ago, and the frames of streams whose client has their beginning."""
        loop = asyncio.get_running_loop()
        now = time.monotonic()
        self._shrink(now)
        for trip in [trip for trip in self._running.values() if trip.began and now - trip.began > HEAD_S]:
            if not trip.joined:
                del self._running[trip]
                trip.shed()
                self._forget(trip)
        busy = self._running or self._ended
        self._sweeping = loop.call_later(SWEEP_S, self._sweep) if busy else None

    def aclose(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
