"""What the mock saw: every request, what became of its connection, and when.

Owns the record and the waiting for its marks, so that a test waits for an event and not for a while. Knows no HTTP
parsing and no answers. Invariants: an exchange ends exactly once; times are `time.monotonic()` seconds, which on one
machine can be compared between processes.
"""

import asyncio
import base64
import time
from typing import Any, Literal

import msgspec

Mark = Literal["arrived", "answering", "held", "ended"]
End = Literal["finished", "faulted", "client_closed", "reset", "stopped"]


class Exchange:
    """One request and its fate.

    Marks: `arrived` (the whole request is here), `answering` (the first byte was written), `held` (a stall without an
    end was reached), `ended`. Ends: `finished` (the whole answer was written), `faulted` (the mock itself closed or
    reset, as scripted), `client_closed` (FIN from the client before the end), `reset` (RST), `stopped` (the mock was
    shut down).
    """

    def __init__(
        self, number: int, connection: int, method: str, target: str, headers: list[tuple[str, str]], body: bytes
    ):
        self.number = number
        self.connection = connection
        self.method = method
        self.target = target
        self.path, _, self.query = target.partition("?")
        self.headers = headers
        self.body = body
        self.faults: list[str] = []
        self.status: int | None = None
        self.bytes_sent = 0
        self.end: End | None = None
        self.times: dict[str, float] = {}
        self._marks: dict[str, asyncio.Event] = {}
        self._released = asyncio.Event()
        self.mark("arrived")

    def header(self, name: str) -> str | None:
        """The first header of that name (any case)."""
        return next((value for key, value in self.headers if key == name.lower()), None)

    def json(self) -> Any:
        """The decoded body. Raises `msgspec.DecodeError`."""
        return msgspec.json.decode(self.body)

    @property
    def arrived(self) -> float:
        return self.times["arrived"]

    @property
    def ended_at(self) -> float | None:
        return self.times.get("ended")

    def mark(self, mark: Mark) -> None:
        """Note the time of a mark, once, and wake who waits for it."""
        if mark not in self.times:
            self.times[mark] = time.monotonic()
            self._event(mark).set()

    def finish(self, end: End) -> None:
        """Record how it ended; only the first end counts."""
        if self.end is None:
            self.end = end
            self.mark("ended")

    async def wait(self, mark: Mark = "ended", seconds: float = 10.0) -> float:
        """The time of a mark, waited for. Raises `TimeoutError`."""
        async with asyncio.timeout(seconds):
            await self._event(mark).wait()
        return self.times[mark]

    def release(self) -> None:
        """End a stall that was scripted without an end."""
        self._released.set()

    async def held(self) -> None:
        """Hold until released."""
        self.mark("held")
        await self._released.wait()

    def _event(self, mark: str) -> asyncio.Event:
        return self._marks.setdefault(mark, asyncio.Event())

    def view(self) -> dict[str, Any]:
        """A JSON object of it: `json` where the body is JSON, else `text` or `base64`."""
        shown: dict[str, Any] = {
            "number": self.number,
            "connection": self.connection,
            "method": self.method,
            "path": self.path,
            "query": self.query,
            "headers": self.headers,
            "faults": self.faults,
            "status": self.status,
            "bytes_sent": self.bytes_sent,
            "end": self.end,
            "times": self.times,
        }
        try:
            return shown | {"json": self.json()}
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass
        try:
            return shown | {"text": self.body.decode()}
        except UnicodeDecodeError:
            return shown | {"base64": base64.b64encode(self.body).decode()}


class Journal:
    """All exchanges in order of arrival, and the connections that carried them."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.connections = 0
        self.open = 0
        self.incomplete = 0  # connections that ended inside a request
        self._number = 0
        self._changed = asyncio.Event()

    def note(self, connection: int, method: str, target: str, headers: list[tuple[str, str]], body: bytes) -> Exchange:
        """Enter a request that has arrived."""
        self._number += 1
        exchange = Exchange(self._number, connection, method, target, headers, body)
        self.exchanges.append(exchange)
        self._wake()
        return exchange

    def opened(self) -> int:
        """Count a connection; its number."""
        self.connections += 1
        self.open += 1
        self._wake()
        return self.connections

    def closed(self, incomplete: bool) -> None:
        """Count the end of a connection."""
        self.open -= 1
        self.incomplete += incomplete
        self._wake()

    def clear(self) -> None:
        """Forget the exchanges so far; numbers go on counting."""
        self.exchanges.clear()

    async def wait_for(self, count: int, seconds: float = 10.0) -> Exchange:
        """The exchange number `count` of those kept (from 1), waited for. Raises `TimeoutError`."""
        async with asyncio.timeout(seconds):
            while len(self.exchanges) < count:
                await self._changed.wait()
        return self.exchanges[count - 1]

    async def wait_idle(self, seconds: float = 10.0) -> None:
        """Wait until no connection is open. Raises `TimeoutError`."""
        async with asyncio.timeout(seconds):
            while self.open:
                await self._changed.wait()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
