"""One request's answer, as it comes off the wire.

Owns the parsing of one response (httptools calls it back), the buffer between the socket and the reader, the clocks
of the exchange and its one failure. Refuses to know sockets and pools: it asks its `Wire` to pause, resume or abort.
Invariants: bytes are handed over as soon as one read has brought them, all of them at once; the buffer holds at most
`HIGH_WATER` bytes and one read more; a body that was not framed to its end is an error, never an end; buffered bytes
come before the error that followed them.
"""

import asyncio
import math
from collections.abc import Callable
from typing import Any

import httptools

from adapters._http.errors import Kind, TransportError, from_loss
from adapters._http.timeouts import Timeouts, span
from adapters._http.wire import MAX_HEAD, MAX_HEADERS, Wire, complaint, framed, idle_hint, malformed, overdue, too_large
from proxy.lane import Lane

HIGH_WATER = 256 * 1024  # bytes buffered for a reader that lags before the socket is no longer read
DRAIN_S = 1.0  # how long a released exchange may take to end by itself,
DRAIN_BYTES = 64 * 1024  # and how much body it may still bring


class Exchange:
    """The response to one request: `await head()`, then `await chunk()` until it gives b"", and `close()` in any case.

    Everything but these three is called by the connection and the parser.
    """

    __slots__ = (
        *("_aligned", "_between_s", "_body", "_buffered", "_deadline", "_draining", "_first_byte_s", "_head_only"),
        *("_headers_done", "_interim", "_lane", "_mark", "_parser", "_paused", "_quiet", "_reading_head", "_sink"),
        *("_total_head", "_waiter", "_wire", "_writing", "complete", "content_encoding", "error", "headers"),
        *("idle_hint_s", "keep_alive", "loop", "sent", "started", "status", "step_s", "surplus", "trailers"),
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        wire: Wire,
        timeouts: Timeouts,
        deadline: float,
        *,
        head_only: bool = False,
    ) -> None:
        self.loop = loop
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.trailers: list[tuple[bytes, bytes]] = []
        self.content_encoding = b""
        self.idle_hint_s: float | None = None  # the server's own `Keep-Alive: timeout=`
        self.keep_alive = False
        self.complete = False
        self.error: BaseException | None = None
        self.sent = False
        self.started = False
        self.surplus = False
        self._wire: Wire | None = wire
        self._deadline = deadline
        self._first_byte_s = span(timeouts.first_byte_s)
        self._between_s = span(timeouts.between_bytes_s)
        self.step_s = min(self._first_byte_s, self._between_s)
        self._head_only = head_only
        self._headers_done = False
        self._interim = False
        self._reading_head = True
        self._writing = False
        self._paused = False
        self._draining = False
        self._body: list[bytes] = []
        self._buffered = 0
        self._quiet = 0
        self._total_head = 0
        self._mark = math.inf
        self._waiter: asyncio.Future[None] | None = None
        self._aligned = False  # the parser is known to wait for the next chunk's size
        self._sink: Callable[[bytes], bool] | None = None
        self._lane: Lane | None = None
        self._parser: Any = httptools.HttpResponseParser(self)

    # --- the reader's side -------------------------------------------------------------------------------------------

    async def head(self) -> None:
        """Wait for the response head. Raises the exchange's failure."""
        while not self.answered():
            await self.change()

    def answered(self) -> bool:
        """Whether the response head is here. Raises the exchange's failure."""
        if self.error is not None and not self._headers_done:
            raise self._failure()
        return self._headers_done

    async def chunk(self) -> bytes:
        """All body bytes that are there, waiting for the first; b"" once the body is complete.

        Cancelling it loses nothing and closes nothing. Raises the exchange's failure after the last byte before it.
        """
        while not self._body:
            if self.complete:
                return b""
            if self._draining:
                raise TransportError("closed", "released by the reader", sent=True, response_started=True)
            if self.error is not None:
                raise self._failure()
            await self.change()
        data = self._pop()
        if self._paused:
            self._read_on()
        return data

    async def flow(self, sink: Callable[[bytes], bool], lane: Lane | None = None) -> None:
        """# fast path: body bytes go to `sink` as they come, out of the socket's own callback, with no task woken for each.

        Ends when `sink` returns False, or the body is complete; `sink` must not raise. Where the parser waits for a chunk and
        `lane` is ready, it is asked first. Raises the exchange's failure.
        """
        self._sink, self._lane = sink, lane
        try:
            while self._sink is not None:
                if self._body:
                    self._pour(sink)
                    if self._paused:
                        self._read_on()
                elif self.complete:
                    return
                elif self._draining:
                    raise TransportError("closed", "released by the reader", sent=True, response_started=True)
                elif self.error is not None:
                    raise self._failure()
                else:
                    await self.change()
        finally:
            self._sink = None
            if self._wire is not None:
                self._wire.lane = None

    def _read_on(self) -> None:
        self._paused = False
        self._mark = self.loop.time()  # the silence that we asked for is not the upstream's
        if self._wire is not None:
            self._wire.resume()

    def release(self) -> None:
        """Nobody wants the rest, but it should be short: keep the connection if the body ends within `DRAIN_S` and
        `DRAIN_BYTES`, close it otherwise. Synchronous; nothing can be read afterwards."""
        self._body.clear()
        self._buffered = 0
        if self.complete or self.error is not None or self._draining:
            return
        if not self._headers_done or self._wire is None:
            self.close()
            return
        self._draining = True
        self._deadline = min(self._deadline, self.loop.time() + DRAIN_S)
        if self._paused:
            self._read_on()
        self._wire.watch()

    def rest(self) -> bytes | None:
        """# fast path: the rest of the body, without waiting, if it is all here."""
        return self._pop() if self.complete and not self._paused else None

    def _pop(self) -> bytes:
        body, self._body = self._body, []
        self._buffered = 0
        return body[0] if len(body) == 1 else b"".join(body)

    def close(self) -> None:
        """Give the connection up at once unless the response is complete. Idempotent, synchronous."""
        if not self.complete and self.error is None:
            self.fail(TransportError("closed", "closed by the reader", sent=self.sent, response_started=self.started))
        self._body.clear()

    def change(self) -> "asyncio.Future[None]":
        """For the reader: done as soon as there is anything new. A future and no coroutine, which each call would pay for."""
        if self._waiter is not None and not self._waiter.done():
            raise RuntimeError("one reader at a time")
        self._waiter = waiter = self.loop.create_future()
        return waiter

    def _failure(self) -> BaseException:
        assert self.error is not None
        return self.error.again() if isinstance(self.error, TransportError) else self.error

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # --- the connection's side ---------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Parse one read, and hand on what it brought or wake the reader once. A failure is stored, never raised."""
        sink, lone = self._sink, False
        if sink is not None:  # fast path: where the parser waits for a chunk, a read that is just one is not parsed
            size = len(data) - data.find(b"\r\n", 1, 8) - 4
            lone = 0 < size < len(data) - 4 and data.endswith(b"\r\n") and data.startswith(b"%x\r\n" % size)
            if lone and self._aligned:
                self._mark = self.loop.time()
                if not sink(data[-size - 2 : -2]):
                    self._sink = None
                    self._wake()
                else:
                    self._open()
                return
        self.started = True
        self._aligned = False
        self._quiet += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserUpgrade, httptools.HttpParserError) as exc:
            self._choked(exc)
        if sink is not None and self._body:
            self._aligned = lone and self._body == [data[-size - 2 : -2]]  # it took it for one too
            self._pour(sink)
            if self._aligned:
                self._open()
        if self.error is not None or self.complete:
            self._wake()
        elif self._quiet > MAX_HEAD:
            self.fail(too_large())
        elif self._headers_done:
            self._taken()

    def _choked(self, exc: Exception) -> None:
        if self.complete:  # bytes after `Connection: close`: nobody asked for them
            self.surplus = True
        elif self.error is None:
            self.fail(malformed(complaint(exc)))

    def _taken(self) -> None:
        """Some of the body has come, or only its head."""
        self._mark = self.loop.time()
        if self._draining:
            if self._buffered > DRAIN_BYTES:
                self.close()
            return
        if self._buffered > HIGH_WATER and not self._paused and (wire := self._wire) is not None:
            self._paused = True
            wire.pause()
        if self._body or self._reading_head:
            self._reading_head = False
            self._wake()

    def _open(self) -> None:
        """From here on the lane is asked first, if it can be."""
        lane, wire = self._lane, self._wire
        if lane is not None and lane.ready and wire is not None and self._sink is not None:
            wire.lane = lane

    def _pour(self, sink: Callable[[bytes], bool]) -> None:
        if not sink(self._pop()):
            self._sink = None
            self._wake()

    def eof(self, exc: BaseException | None) -> None:
        """The connection is gone: the clean end of a body that is read until close, or a failure."""
        if self.complete or self.error is not None:
            return
        bodiless = self._head_only or self.status in (204, 304)
        if exc is None and self._headers_done and not bodiless and not framed(self.headers):
            self.complete = True
            self.keep_alive = False
            self.detach()
            self._wake()
            return
        self.fail(from_loss(exc, started=self.started, sent=self.sent))

    def fail(self, error: BaseException) -> None:
        """Store the failure, wake the reader and give the connection up."""
        if self.complete or self.error is not None:
            return
        self.error = error
        wire = self._wire
        self.detach()
        if wire is not None:
            wire.abort()
        self._wake()

    def detach(self) -> None:
        """Let go of the connection and break the cycle with the parser."""
        self._wire = None
        self._parser = None

    def writing(self, busy: bool) -> None:
        """The request is being written (`busy`), or has been: from here the first byte's clock runs."""
        self._writing = busy
        if not self._headers_done:
            self._mark = self.loop.time()

    def stall(self) -> None:
        """Stop the clock while it is our own side that has nothing to send."""
        if not self._headers_done:
            self._mark = math.inf

    @property
    def busy_writing(self) -> bool:
        """Whether the first byte's clock is running for the request instead of the answer."""
        return self._writing and not self._headers_done

    def due(self) -> tuple[float, Kind]:
        """When the next clock runs out, in loop time, and which."""
        if self._headers_done:
            mark = self._mark if self._lane is None else max(self._mark, self._lane.at)
            quiet = math.inf if self._paused else mark + self._between_s
            kind: Kind = "between_bytes_timeout"
        else:
            quiet, kind = self._mark + self._first_byte_s, "first_byte_timeout"
        return (quiet, kind) if quiet < self._deadline else (self._deadline, "total_timeout")

    def late(self, kind: Kind) -> TransportError:
        """The failure for a clock that ran out."""
        return TransportError(kind, overdue(kind, self._writing), sent=self.sent, response_started=self.started)

    # --- the parser's side -------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self.complete:
            self.surplus = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.complete:
            return
        fields = self.trailers if self._headers_done else self.headers
        fields.append((name, value))
        self._total_head += len(name) + len(value) + 4
        if self._total_head > MAX_HEAD or len(fields) > MAX_HEADERS:
            self.fail(too_large())
        size = len(name)
        if size == 10 or size == 16 or size == 17:
            lower = name.lower()
            if lower == b"content-encoding":
                value = value.strip().lower()
                self.content_encoding = b"%b, %b" % (self.content_encoding, value) if self.content_encoding else value
            elif lower == b"keep-alive":
                self.idle_hint_s = idle_hint(value)
            elif lower == b"transfer-encoding" and value.strip().lower() != b"chunked":
                self.fail(malformed("a transfer coding that was not asked for"))

    def on_headers_complete(self) -> None:
        if self.complete:
            return
        parser = self._parser
        if parser is None:  # failed in this very read
            return
        status = parser.get_status_code()
        if status < 200:
            if status < 100 or status == 101:
                self.fail(malformed(f"status {status}"))
            self._interim = True
            return
        self.status = status
        self.keep_alive = parser.should_keep_alive()
        self._headers_done = True
        self._quiet = 0
        if self._head_only:  # the parser waits for a body that will not come; the next exchange has its own parser
            self.complete = True

    def on_body(self, data: bytes) -> None:
        if self.complete:
            self.surplus = True
            return
        if self._draining:
            self._buffered += len(data)
            return
        self._quiet = 0
        self._body.append(data)
        self._buffered += len(data)

    def on_message_complete(self) -> None:
        if self._interim:  # 1xx: the real one is still to come
            self._interim = False
            self.headers = []
            self.content_encoding = b""
            return
        if self.error is None:
            self.complete = True
