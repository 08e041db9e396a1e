"""A fair limit on how many do something at once.

Owns a number of slots and the queue for them; refuses to know what they are for. Invariants: first come, first served;
a waiter who gives up or is cancelled leaves nothing behind, not even a slot granted in the same turn of the loop.
"""

import asyncio
import math
from collections import deque
from typing import Any

from adapters._http.errors import TransportError


class Slots:
    """`limit` slots."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limit: int) -> None:
        self._loop = loop
        self._free = limit
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._closed = False

    @property
    def waiting(self) -> int:
        """Callers in the queue."""
        return len(self._waiters)

    async def acquire(self, wait_s: float, deadline: float) -> None:
        """Take a slot. Raises TransportError: pool_timeout (`wait_s`), total_timeout (`deadline`), closed."""
        if self._closed:
            raise TransportError("closed", "the client is closed")
        if self._free > 0 and not self._waiters:
            self._free -= 1
            return
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiters.append(waiter)
        until = self._loop.time() + wait_s
        when = min(until, deadline)
        timer = self._loop.call_at(when, give_up, waiter, until <= deadline) if when != math.inf else None
        try:
            await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self.release()  # granted and cancelled in the same breath
            elif waiter in self._waiters:
                self._waiters.remove(waiter)
            raise
        finally:
            if timer is not None:
                timer.cancel()

    def release(self) -> None:
        """Give a slot back; the next in line gets it."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._free += 1

    def close(self) -> None:
        """Fail everybody who waits, and whoever comes."""
        self._closed = True
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(TransportError("closed", "the client is closed"))


def give_up(waiter: "asyncio.Future[Any]", pool_clock: bool) -> None:
    """A timer's callback: fail a waiter that is still waiting, for the clock that ran out."""
    if waiter.done():
        return
    if pool_clock:
        waiter.set_exception(TransportError("pool_timeout", "every connection to the upstream is busy"))
    else:
        waiter.set_exception(TransportError("total_timeout", "no time left while waiting for a connection"))
