"""One request on a connection, and its answer: an ASGI channel for any app, and an Outlet for ours.

Owns the framing of the answer (length, chunks, or the connection's end), `100-continue`, and the buffered request body.
Invariants: nothing is written before the first byte of the body is at hand, so that a head and it leave in one write; an
answer that its app did not end is never made to look ended.
"""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from proxy.lane import Lane

if TYPE_CHECKING:
    from routes._http.connection import Connection

_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
_BODILESS = frozenset({204, 304})
BODY_HIGH_WATER = 256 * 1024  # bytes of a request body that may wait for the app before the socket is not read any more

SMALL = 64 * 1024  # bytes of an answer that is written together with others

Header = tuple[bytes, bytes]


class Turn:
    """`gone` is set, and the watched task cancelled, when the client leaves before the answer's end."""

    __slots__ = (
        "_chunked",
        "_connection",
        "_discarded",
        "_drained",
        "_expects",
        "_head",
        "_head_only",
        "_http10",
        "_lane",
        "_left",
        "_parts",
        "_read",
        "_waiter",
        "_watched",
        "_written",
        "buffered",
        "complete",
        "gone",
        "keep_alive",
        "lost",
        "more",
        "on_gone",
        "scope",
        "status",
        "task",
    )

    def __init__(self, connection: "Connection", scope: dict[str, Any], *, keep_alive: bool, expects: bool) -> None:
        self.scope = scope
        self.keep_alive = keep_alive
        self.task: asyncio.Task[None] | None = None
        self.status = 0
        self.complete = False  # the answer is wholly written
        self._written = 0
        self._lane: Lane | None = None
        self.gone = False
        self.on_gone: Callable[[], None] | None = None
        self.lost = False  # there is no connection any more
        self.more = True  # of the request's body is still to come
        self.buffered = 0
        self._connection = connection
        self._expects = expects
        self._parts: list[bytes] = []
        self._read = False  # the app has been given the end of the body
        self._waiter: asyncio.Future[None] | None = None
        self._watched = False
        self._head = b""  # written with the first bytes of the body
        self._head_only = scope["method"] == "HEAD"
        self._http10 = scope["http_version"] == "1.0"
        self._chunked = False
        self._left = -1  # bytes of the body that the announced length still wants; -1: none was announced
        self._discarded = 0

    # ── the request ──────────────────────────────────────────────────────────────────────────────────────────────────

    def feed(self, data: bytes) -> None:
        """Some of the request's body has come."""
        if self.complete:
            self._discarded += len(data)
            if self._discarded > BODY_HIGH_WATER:
                self._connection.close()  # it sends on although it has its answer
            return
        self._parts.append(data)
        self.buffered += len(data)
        if self.buffered > BODY_HIGH_WATER:
            self._connection.pause(self)
        if self._waiter is not None:
            self._wake()

    def fed(self) -> None:
        """The request's body has ended."""
        self.more = False
        if self._waiter is not None:
            self._wake()

    def body(self) -> bytes | None:
        """See `Outlet`."""
        if self.more or self._read or self.lost:
            return None
        self._read = True
        parts, self._parts = self._parts, []
        if self.buffered > BODY_HIGH_WATER:
            self._connection.resume(self)
        self.buffered = 0
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def receive(self) -> dict[str, Any]:
        """ASGI's: the body in one piece or more, then the disconnect."""
        if self._expects and not self.status and not self.lost:
            self._expects = False
            if self.more and not self._parts:
                self._connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        while not self.lost and not self.complete:
            if self._parts or (not self.more and not self._read):
                parts = self._parts
                body = parts[0] if len(parts) == 1 else b"".join(parts)
                parts.clear()
                self.buffered = 0
                self._connection.resume(self)
                self._read = not self.more
                return {"type": "http.request", "body": body, "more_body": self.more}
            self._waiter = self._connection.loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return {"type": "http.disconnect"}

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def leave(self) -> None:
        """The connection is gone."""
        self.lost = True
        self.slow(True)
        self._wake()
        if self._watched and not self.complete:
            (self.on_gone or self.cancel)()

    # ── the answer, as an Outlet ─────────────────────────────────────────────────────────────────────────────────────

    def watch(self) -> None:
        self._watched = True
        if self.lost:
            (self.on_gone or self.cancel)()

    def cancel(self) -> None:
        self.gone = True
        if self.task is not None:
            self.task.cancel()

    def unwatch(self) -> None:
        self._watched = False

    async def whole(self, status: int, headers: list[Header], body: bytes, lines: bytes = b"") -> None:
        self.status = status
        head = [_line(status), self._connection.date, lines, *[b"%b: %b\r\n" % header for header in headers]]
        head.append(b"content-length: %d\r\n\r\n" % len(body) if self.keep_alive else _closing(len(body)))
        if not self._head_only:
            head.append(body)
        if not self.lost:
            data = b"".join(head)
            (self._connection.write_soon if len(data) <= SMALL else self._connection.write)(data)
            self._finish()
            if self._connection.full:
                await self._connection.drained()

    async def begin(self, status: int, headers: list[Header], lines: bytes = b"") -> None:
        self.status = status
        head = [_line(status), self._connection.date, lines]
        framed = status in _BODILESS or status < 200
        for name, value in headers:
            head.append(b"%b: %b\r\n" % (name, value))
            low = name.lower()
            if low == b"content-length":
                framed, self._left = True, int(value)
            elif low == b"connection" and value.lower() == b"close":
                self.keep_alive = False
        if not framed and self._http10:
            self.keep_alive = False
        elif not framed:
            self._chunked = True
            head.append(b"transfer-encoding: chunked\r\n")
        head.append(b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n")
        self._head = b"".join(head)

    @property
    def written(self) -> int:
        return self._written + (self._lane.frames if self._lane is not None else 0)

    def lane(self) -> Lane | None:
        connection = self._connection
        if self._lane is None and self._chunked and not self._head and not self._head_only:
            self._lane = Lane(connection.transport.write, connection.loop.time)
            self.slow(connection.full)
        return self._lane

    def slow(self, full: bool) -> None:
        """Whether the client lags, or has gone."""
        if self._lane is not None:
            self._lane.shut = full or self.lost

    def offer(self, data: bytes) -> bool:
        connection = self._connection
        if self.lost or connection.full:
            return False
        self._written += 1
        connection.transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
        return True

    async def put(self, data: bytes) -> None:
        if self.lost:
            return
        self._write(data)
        if self._connection.full:
            await self._connection.drained()

    async def end(self, data: bytes) -> None:
        if self.lost or self.complete:
            return
        self._write(data, last=True)
        if self._left > 0 and not self._head_only:
            raise RuntimeError(f"the answer is {self._left} bytes shorter than it said")
        self._finish()

    def _write(self, data: bytes, *, last: bool = False) -> None:
        if self._head_only or self.status in _BODILESS:
            data = b""
        elif self._chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
            data = data + b"0\r\n\r\n" if last else data
        elif self._left >= 0:
            self._left -= len(data)
            if self._left < 0:
                raise RuntimeError("the answer is longer than it said")
        if head := self._head:
            self._head = b""
            data = head + data
        if data:
            self._written += 1
            self._connection.write(data)

    def _finish(self) -> None:
        self.complete = True
        self._connection.done(self)

    # ── the answer, as ASGI has it ───────────────────────────────────────────────────────────────────────────────────

    async def send(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            if self.status:
                raise RuntimeError("the answer has begun already")
            await self.begin(message["status"], list(message.get("headers", ())))
        elif kind == "http.response.body":
            if not self.status or self.complete:
                raise RuntimeError("no answer has begun, or it is over")
            body = message.get("body", b"")
            await (self.put(body) if message.get("more_body") else self.end(body))
        else:
            raise RuntimeError(f"{kind!r} is no message of an HTTP answer")


def _closing(length: int) -> bytes:
    return b"content-length: %d\r\nconnection: close\r\n\r\n" % length


def _line(status: int) -> bytes:
    return _LINES.get(status) or b"HTTP/1.1 %d Unknown\r\n" % status
