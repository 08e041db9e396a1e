"""One socket to an upstream and the exchange that is on it.

Owns the asyncio transport: writing a request (in one piece, or streamed with back-pressure), feeding what comes to
the exchange, the one timer that watches its clocks, and closing at once. Refuses to parse, and to choose when it is
reused: its `Keeper` (the pool) does. Invariants: at most one exchange at a time; it goes back to the keeper only with
the request wholly written, the response wholly read and not one byte more; it leaves the keeper exactly once.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterable, AsyncIterator
from typing import Protocol, cast

from adapters._http.errors import TransportError
from adapters._http.exchange import Exchange
from proxy.cork import cork_of
from proxy.lane import Lane

JOIN_LIMIT = 64 * 1024  # bodies up to this are copied behind the head to leave in one write


class Keeper(Protocol):
    """Who owns connections between exchanges."""

    def born(self, connection: "Connection") -> None: ...
    def release(self, connection: "Connection") -> None: ...
    def forget(self, connection: "Connection") -> None: ...
    def gone(self, connection: "Connection") -> None: ...


class Connection(asyncio.Protocol):
    """A connection made by `loop.create_connection(lambda: Connection(loop, keeper))`."""

    __slots__ = (
        "_backlog",
        "_cork",
        "_drained",
        "_exchange",
        "_held",
        "_keeper",
        "_loop",
        "_pump",
        "_timer",
        "_timer_at",
        "_transport",
        "_write_paused",
        "closed",
        "expires_at",
        "lane",
        "served",
        "slot",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, keeper: Keeper) -> None:
        self.closed = False
        self.served = 0  # exchanges begun
        self.expires_at = 0.0  # loop time, while idle
        self.lane: Lane | None = None
        self.slot = False  # whether it holds one of the keeper's slots
        self._loop = loop
        self._cork = cork_of(loop)
        self._held = b""  # a request that is written at the end of this turn of the loop
        self._keeper = keeper
        self._transport: asyncio.Transport | None = None
        self._exchange: Exchange | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._write_paused = False
        self._drained: asyncio.Future[None] | None = None
        self._backlog = 0
        self._pump: asyncio.Task[None] | None = None

    # --- one exchange ------------------------------------------------------------------------------------------------

    def begin(self, exchange: Exchange, head: bytes, body: bytes | AsyncIterable[bytes], length: int | None) -> None:
        """Write the request and bind the exchange. A streamed body is chunked unless `length` says how long it is."""
        transport = self._transport
        if self.closed or transport is None:
            raise RuntimeError("this connection is gone")
        self.served += 1
        self._exchange = exchange
        exchange.sent = True
        if isinstance(body, bytes):
            if len(body) <= JOIN_LIMIT:
                self._held = head + body if body else head
                self._cork.add(self._leave)
            else:
                transport.write(head)
                transport.write(body)
            exchange.writing(self._write_paused)
        else:
            transport.write(head)
            exchange.writing(True)
            self._pump = self._loop.create_task(self._send(exchange, transport, body, length))
        self._backlog = transport.get_write_buffer_size() if self._write_paused else 0
        self._watch(exchange, self._loop.time())

    def _leave(self) -> None:
        held, self._held = self._held, b""
        if held and self._transport is not None and not self._transport.is_closing():  # else its end is told anyway
            self._transport.write(held)

    async def _send(
        self, exchange: Exchange, transport: asyncio.Transport, body: AsyncIterable[bytes], length: int | None
    ) -> None:
        pieces = body.__aiter__()
        try:
            await self._send_pieces(exchange, transport, pieces, length)
        except Exception as exc:  # noqa: BLE001  the caller's own iterator: its error is the exchange's
            exchange.fail(exc)
        finally:
            close = getattr(pieces, "aclose", None)
            if close is not None:
                with contextlib.suppress(Exception):
                    await close()

    async def _send_pieces(
        self, exchange: Exchange, transport: asyncio.Transport, pieces: AsyncIterator[bytes], length: int | None
    ) -> None:
        left = length
        while True:
            exchange.stall()  # our side's silence is not the upstream's
            try:
                piece = await anext(pieces)
            except StopAsyncIteration:
                break
            if not piece:
                continue
            if left is None:
                transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            else:
                left -= len(piece)
                if left < 0:
                    raise TransportError("request", f"the body is longer than its {length} bytes", sent=True)
                transport.write(piece)
            exchange.writing(True)
            if self._write_paused:
                self._drained = self._loop.create_future()
                await self._drained
        if left:
            raise TransportError("request", f"the body is {left} bytes shorter than announced", sent=True)
        if left is None:
            transport.write(b"0\r\n\r\n")
        self._pump = None
        exchange.writing(self._write_paused)

    def _finish(self, exchange: Exchange) -> None:
        self._exchange = None
        exchange.detach()
        transport = self._transport
        assert transport is not None
        if (
            exchange.keep_alive
            and not exchange.surplus
            and self._pump is None
            and not self._held
            and not transport.is_closing()
            and transport.get_write_buffer_size() == 0
        ):
            if exchange.idle_hint_s is not None:
                self.expires_at = self._loop.time() + max(exchange.idle_hint_s - 1.0, 0.0)
            else:
                self.expires_at = 0.0
            self._keeper.release(self)
        else:
            self.abort()

    # --- what an exchange may ask ------------------------------------------------------------------------------------

    def abort(self) -> None:
        """Close the socket now, dropping whatever is still to be written or read. Idempotent."""
        if self.closed:
            return
        self.closed = True
        self._held = b""
        if self._transport is not None:
            self._transport.abort()
        self._let_go(TransportError("closed", "the connection was closed on our side", sent=True))
        self._keeper.forget(self)

    def pause(self) -> None:
        """Stop reading: the reader lags."""
        if not self.closed and self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if not self.closed and self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def watch(self) -> None:
        """A clock was shortened: look at it in time."""
        if self._exchange is not None:
            self._watch(self._exchange, self._loop.time())

    @property
    def usable(self) -> bool:
        """Whether a request could be written now."""
        return not self.closed and self._transport is not None and not self._transport.is_closing()

    def _let_go(self, error: TransportError) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        pump, self._pump = self._pump, None
        if pump is not None and pump is not _current_task():
            pump.cancel()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.fail(error)

    # --- the clocks --------------------------------------------------------------------------------------------------

    def _watch(self, exchange: Exchange, now: float) -> None:
        # One timer a connection, left armed between exchanges; it looks often enough to be exact after every change of
        # phase, since no phase is shorter than `step_s`.
        when = min(exchange.due()[0], now + exchange.step_s)
        if self._timer is not None:
            if self._timer_at <= when:
                return
            self._timer.cancel()
            self._timer = None
        if when != float("inf"):
            self._timer_at = when
            self._timer = self._loop.call_at(when, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        exchange = self._exchange
        if exchange is None or self._transport is None:
            return
        now = self._loop.time()
        if exchange.busy_writing:
            backlog = self._transport.get_write_buffer_size()
            if backlog < self._backlog:  # slow, but it takes what we write
                exchange.writing(True)
            self._backlog = backlog
        when, kind = exchange.due()
        if when <= now + 0.001:
            exchange.fail(exchange.late(kind))
        else:
            self._watch(exchange, now)

    # --- what asyncio calls ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._keeper.born(self)

    def data_received(self, data: bytes) -> None:
        lane = self.lane
        if lane is not None:
            if lane.take(data):
                return
            self.lane = None
        exchange = self._exchange
        if exchange is None:  # nobody asked: a goodbye message, or a response longer than it said
            self.abort()
            return
        exchange.feed(data)
        if exchange.complete:
            self._finish(exchange)

    def eof_received(self) -> bool:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.eof(None if self._ended_in_order() else _forgeable())
        self.abort()
        return False

    def _tls(self) -> "ssl.SSLObject | None":
        return None if self._transport is None else self._transport.get_extra_info("ssl_object")

    def _ended_in_order(self) -> bool:
        # Over TLS an end can be forged by anybody on the way unless the peer says goodbye inside TLS. asyncio does not
        # tell the two apart, but asking the TLS object for more does; uvloop loses the connection without an EOF.
        tls = self._tls()
        if tls is None:
            return True
        try:
            return not tls.read(1)
        except ssl.SSLZeroReturnError:
            return True
        except (ssl.SSLError, ValueError):
            return False

    def connection_lost(self, exc: Exception | None) -> None:
        exchange, self._exchange = self._exchange, None
        known, self.closed = self.closed, True
        if exchange is not None:
            exchange.eof(_forgeable() if exc is None and self._tls() is not None else exc)
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._let_go(TransportError("closed", "the connection was closed on our side", sent=True))
        if not known:
            self._keeper.forget(self)
        self._keeper.gone(self)

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        if self._exchange is not None and self._pump is None:
            self._exchange.writing(False)


def _forgeable() -> ssl.SSLError:
    return ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "closed without close_notify")


def _current_task() -> "asyncio.Task[object] | None":
    try:
        return asyncio.current_task()
    except RuntimeError:  # a callback, not a task
        return None
