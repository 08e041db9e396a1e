"""The connections to one origin.

Owns how many there are, who gets one next (first come, first served), and how long an idle one is kept. Refuses to
know HTTP. Invariants: never more than `limit` connections, dialling ones included; a slot is given back exactly once;
a caller who stops waiting leaves nothing behind, not even a slot that had just been granted.
"""

import asyncio
import math
from collections import deque

from adapters._http.connection import Connection
from adapters._http.dial import dial
from adapters._http.errors import TransportError
from adapters._http.head import Origin
from adapters._http.slots import give_up
from adapters._http.timeouts import Timeouts, span


class Pool:
    """Connections to `origin`. All methods run in one event loop, the one that it was made in."""

    def __init__(
        self, origin: Origin, *, verify: bool | str, limit: int, max_idle: int, keepalive_expiry_s: float
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self._origin = origin
        self._verify = verify
        self._limit = limit
        self._max_idle = max_idle
        self._expiry_s = keepalive_expiry_s
        self._size = 0  # slots in use: dialling, busy, idle or just handed over
        self._idle: list[Connection] = []  # the last used is used next
        # A waiter is given a connection, or None: a slot, already counted, to dial in.
        self._waiters: deque[asyncio.Future[Connection | None]] = deque()
        self._alive: set[Connection] = set()  # sockets that asyncio has not reported lost
        self._sweeper: asyncio.TimerHandle | None = None
        self._emptied: asyncio.Future[None] | None = None
        self._closed = False

    @property
    def size(self) -> int:
        """Slots in use."""
        return self._size

    @property
    def idle(self) -> int:
        """Connections waiting for work."""
        return len(self._idle)

    @property
    def waiting(self) -> int:
        """Callers waiting for a connection."""
        return len(self._waiters)

    def take(self) -> Connection | None:
        """# fast path: an idle connection, now, or None."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            if connection.usable and connection.expires_at > self.loop.time():
                return connection
            connection.abort()
        return None

    async def acquire(
        self, timeouts: Timeouts, deadline: float, *, fresh: bool = False, first: bool = False
    ) -> Connection:
        """A connection to write on; with `fresh`, one that has never been used; `first` goes to the head of the queue.

        Raises TransportError: pool_timeout, total_timeout, connect, connect_timeout, tls, closed.
        """
        until = self.loop.time() + span(timeouts.pool_s)
        while True:
            if self._closed:
                raise TransportError("closed", "the client is closed")
            if not fresh and (not self._waiters or first):
                connection = self.take()
                if connection is not None:
                    return connection
            if self._size >= self._limit and fresh and self._idle:
                self._idle.pop(0).abort()  # frees its slot
            if self._size < self._limit and (not self._waiters or first):
                self._size += 1
                return await self._dial(timeouts, deadline)
            granted = await self._wait(until, deadline, first)
            if granted is None:
                return await self._dial(timeouts, deadline)
            if granted.usable and not fresh:
                return granted
            granted.abort()  # died on the way, or is not a new one: its slot is free again, and we are next
            first = True

    async def _wait(self, until: float, deadline: float, first: bool) -> Connection | None:
        waiter: asyncio.Future[Connection | None] = self.loop.create_future()
        (self._waiters.appendleft if first else self._waiters.append)(waiter)
        when = min(until, deadline)
        timer = self.loop.call_at(when, give_up, waiter, until <= deadline) if when != math.inf else None
        try:
            return await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._give_back(waiter.result())  # granted and cancelled in the same breath
            elif waiter in self._waiters:
                self._waiters.remove(waiter)
            raise
        finally:
            if timer is not None:
                timer.cancel()

    async def _dial(self, timeouts: Timeouts, deadline: float) -> Connection:
        """Dial in a slot that is already counted."""
        left = deadline - self.loop.time()
        connect_s = span(timeouts.connect_s)
        try:
            if left <= 0:
                raise TransportError("total_timeout", "no time left to connect")
            connection = await dial(self._origin, self._verify, self._make, min(connect_s, left))
        except BaseException as exc:
            self._free()
            if isinstance(exc, TransportError) and exc.kind == "connect_timeout" and left < connect_s:
                raise TransportError("total_timeout", "no time left to connect") from exc
            raise
        if self._closed or not connection.usable:
            connection.abort()  # it has no slot of its own yet
            self._free()
            raise TransportError("closed" if self._closed else "connect", "the connection was closed at once")
        connection.slot = True
        return connection

    def _make(self) -> Connection:
        return Connection(self.loop, self)

    def _give_back(self, granted: Connection | None) -> None:
        if granted is None:
            self._free()
        elif granted.usable:
            self.release(granted)
        else:
            granted.abort()

    def _free(self) -> None:
        """One slot less in use; the next in line gets it."""
        self._size -= 1
        while self._waiters and self._size < self._limit:
            waiter = self._waiters.popleft()
            if not waiter.done():
                self._size += 1
                waiter.set_result(None)

    # --- what connections call ---------------------------------------------------------------------------------------

    def born(self, connection: Connection) -> None:
        """asyncio has opened the socket."""
        self._alive.add(connection)

    def release(self, connection: Connection) -> None:
        """Take a healthy connection back after an exchange."""
        if self._closed:
            connection.abort()
            return
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        now = self.loop.time()
        expires_at = now + self._expiry_s
        if connection.expires_at == 0.0 or connection.expires_at > expires_at:
            connection.expires_at = expires_at
        if len(self._idle) >= self._max_idle or connection.expires_at <= now:
            connection.abort()
            return
        self._idle.append(connection)
        if self._sweeper is None:
            self._sweeper = self.loop.call_later(self._expiry_s, self._sweep)

    def forget(self, connection: Connection) -> None:
        """A connection was closed; if it had been dialled successfully, its slot is free."""
        if connection in self._idle:
            self._idle.remove(connection)
        if connection.slot:
            connection.slot = False
            self._free()

    def gone(self, connection: Connection) -> None:
        """asyncio has closed the socket."""
        self._alive.discard(connection)
        if not self._alive and self._emptied is not None and not self._emptied.done():
            self._emptied.set_result(None)

    def _sweep(self) -> None:
        self._sweeper = None
        now = self.loop.time()
        for connection in [c for c in self._idle if c.expires_at <= now + 0.001 or not c.usable]:
            connection.abort()
        if self._idle:
            first = min(c.expires_at for c in self._idle)
            self._sweeper = self.loop.call_at(first, self._sweep)

    async def aclose(self) -> None:
        """Close every connection, busy ones too, fail every waiter, and wait until the sockets are gone."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(TransportError("closed", "the client is closed"))
        for connection in list(self._alive):
            connection.abort()
        if self._alive:
            self._emptied = self.loop.create_future()
            try:
                async with asyncio.timeout(1.0):
                    await self._emptied
            except TimeoutError:
                self._alive.clear()  # the loop has been told; waiting longer helps nobody
            finally:
                self._emptied = None
