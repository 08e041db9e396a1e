"""The way out for one answer, whatever server carries it.

`routes._http` gives its own, which takes a head and its first bytes in one write and frames without waiting; `AsgiOutlet`
is the same over any ASGI server's `receive` and `send`. Neither knows what an answer is.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from litestar.types import Receive, Send

from proxy.lane import Lane

WATCH_AFTER_S = 0.02  # most short calls are over by then, and need no task that watches

OUTLET = "traghetto.outlet"  # the ASGI extension under which our own server hands over its way out

Header = tuple[bytes, bytes]


class Way(Protocol):
    """Out with one answer: `whole`, or `begin`, then any number of `put` and `offer`, then `end`."""

    @property
    def written(self) -> int:
        """How often something of the body was written."""
        ...

    async def whole(self, status: int, headers: list[Header], body: bytes, lines: bytes = b"") -> None:
        """A complete answer; its content-length is added. `lines` are more headers, as HTTP/1.1 has them on the wire."""
        ...

    async def begin(self, status: int, headers: list[Header], lines: bytes = b"") -> None: ...

    async def put(self, data: bytes) -> None:
        """Some of the body; returns once there is room for more."""
        ...

    def offer(self, data: bytes) -> bool:
        """Some of the body, without waiting. False if it was not taken: the client reads too slowly, or has gone."""
        ...

    def lane(self) -> Lane | None:
        """A way past `offer` for regular events, once some of the body was written; None where there is none."""
        ...

    async def end(self, data: bytes) -> None:
        """The last of the body."""
        ...

    def unwatch(self) -> None:
        """The call is over: nobody is cancelled any more."""
        ...


class Outlet(Way, Protocol):
    """A Way that knows its client."""

    status: int  # of the answer that has begun; 0 before
    gone: bool  # the watched task was cancelled, since the client left
    on_gone: Callable[[], None] | None  # called when the client leaves; unset, `cancel` is

    def body(self) -> bytes | None:
        """The request's body, if all of it is here already and nobody has received any; else None."""
        ...

    def watch(self) -> None:
        """From here on the running task is cancelled when the client leaves."""
        ...

    def cancel(self) -> None:
        """Cancel the watched task: nobody waits for its answer."""
        ...


def pairs(lines: bytes) -> list[Header]:
    """Lines of headers, each with its end, as pairs."""
    parts = [line.partition(b": ") for line in lines.split(b"\r\n")[:-1]]
    return [(name, value) for name, _, value in parts]


class AsgiOutlet:
    """Over an ASGI server's channel."""

    __slots__ = ("_main", "_receive", "_send", "_task", "_timer", "gone", "on_gone", "status", "written")

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._main: asyncio.Task[object] | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.status = 0
        self.written = 0
        self.gone = False
        self.on_gone: Callable[[], None] | None = None

    def body(self) -> bytes | None:
        """ASGI tells only who asks, and waits."""
        return None

    def watch(self) -> None:
        """Costs a timer for short calls, a task that waits for the disconnect for long ones."""
        self._main = asyncio.current_task()
        self._timer = asyncio.get_running_loop().call_later(WATCH_AFTER_S, self._start)

    def _start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                break
        (self.on_gone or self.cancel)()

    def cancel(self) -> None:
        self.gone = True
        if self._main is not None:
            self._main.cancel()

    def unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None and not self._task.done():
            self._task.cancel()

    async def whole(self, status: int, headers: list[Header], body: bytes, lines: bytes = b"") -> None:
        await self.begin(status, [*headers, (b"content-length", str(len(body)).encode())], lines)
        await self.end(body)

    async def begin(self, status: int, headers: list[Header], lines: bytes = b"") -> None:
        self.status = status
        headers = [*headers, *pairs(lines)]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def put(self, data: bytes) -> None:
        self.written += 1
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    def offer(self, data: bytes) -> bool:
        """ASGI has no way to send without waiting."""
        del data
        return False

    def lane(self) -> Lane | None:
        return None

    async def end(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": False})
