"""The other transports behind the same client: httpx's own and httpx-aiohttp's.

Owns how they are built, and what they lack beside ours: a first-come queue for connections, the clocks, closing
without being awaited. Refuses to know anything about requests but their httpx form. Invariants: both pass the fault
suite of ours; a call holds its slot until its response is complete or closed. Their first-byte clock runs from the
start of the attempt, for they do not say when a request has been written.
"""

import asyncio
import contextlib
import functools
import math
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import httpx

from adapters._http.dial import tls_context
from adapters._http.errors import Kind, TransportError, from_foreign
from adapters._http.exchange import DRAIN_BYTES, DRAIN_S
from adapters._http.head import Origin
from adapters._http.retry import stale
from adapters._http.slots import Slots
from adapters._http.timeouts import Timeouts, span
from proxy.lane import Lane

if TYPE_CHECKING:
    import aiohttp


def build(name: str, origin: Origin, verify: bool | str, keepalive_expiry_s: float) -> httpx.AsyncBaseTransport:
    """The transport called `name`: "httpx" or "aiohttp". Their own connection limits are off: `Slots` is the limit."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=keepalive_expiry_s)
    # Reading the authorities takes tens of milliseconds; without TLS an empty context spares them.
    context = tls_context(verify) if origin.scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if name == "httpx":
        return httpx.AsyncHTTPTransport(verify=context, limits=limits, uds=origin.uds, trust_env=False)
    import aiohttp
    from httpx_aiohttp import AiohttpTransport

    def session() -> aiohttp.ClientSession:
        connector: aiohttp.BaseConnector
        if origin.uds is not None:
            connector = aiohttp.UnixConnector(origin.uds, keepalive_timeout=keepalive_expiry_s, limit=0)
        else:
            connector = aiohttp.TCPConnector(ssl=context, keepalive_timeout=keepalive_expiry_s, limit=0)
        # No cookies: one caller's upstream session must not become another's.
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trace_configs=[_watch_reuse(aiohttp.TraceConfig())],
            skip_auto_headers=("user-agent", "accept", "accept-encoding", "content-type"),
            trust_env=False,
        )

    return AiohttpTransport(verify=context, limits=limits, uds=origin.uds, client=session)


class Ride:
    """What an attempt learned about the connection that it was on."""

    def __init__(self, name: str) -> None:
        self.reused = name == "httpx"  # httpx tells only of new connections, aiohttp of both

    async def trace(self, event: str, info: object) -> None:
        """httpcore calls this with everything it does."""
        if event.endswith((".connect_tcp.started", ".connect_unix_socket.started")):
            self.reused = False


_RIDE: ContextVar[Ride | None] = ContextVar("_RIDE", default=None)


def _watch_reuse(config: "aiohttp.TraceConfig") -> "aiohttp.TraceConfig":
    async def note(reused: bool, *_: object) -> None:
        ride = _RIDE.get()
        if ride is not None:
            ride.reused = reused

    config.on_connection_reuseconn.append(functools.partial(note, True))
    config.on_connection_create_start.append(functools.partial(note, False))
    return config


class ForeignTransport:
    """Drives an httpx transport with our clocks, our queue and our exceptions."""

    def __init__(
        self, name: str, origin: Origin, *, verify: bool | str, max_connections: int, keepalive_expiry_s: float
    ) -> None:
        self._name = name
        self._make = functools.partial(build, name, origin, verify, keepalive_expiry_s)
        self._inner: httpx.AsyncBaseTransport | None = None
        self._base = f"{origin.scheme}://{origin.authority}"
        self._limit = max_connections
        self._slots: Slots | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._open: set[ForeignExchange] = set()
        self._closed = False

    async def exchange(
        self,
        method: str,
        target: str,
        headers: Sequence[tuple[str, str]],
        body: bytes | AsyncIterable[bytes],
        length: int | None,
        timeouts: Timeouts,
    ) -> "ForeignExchange":
        """One request; returns when the response head has come. Raises TransportError."""
        if self._closed:
            raise TransportError("closed", "the client is closed")
        loop = asyncio.get_running_loop()
        if self._inner is None or self._slots is None:
            self._inner = self._make()
            self._slots = Slots(loop, self._limit)
        deadline = loop.time() + span(timeouts.total_s)
        await self._slots.acquire(span(timeouts.pool_s), deadline)
        try:
            request = self._request(method, target, headers, body, length, timeouts)
            response = await self._ride(self._inner, request, isinstance(body, bytes), timeouts, deadline)
        except BaseException:
            self._slots.release()
            raise
        return ForeignExchange(self, response, timeouts, deadline)

    def _request(
        self,
        method: str,
        target: str,
        headers: Sequence[tuple[str, str]],
        body: bytes | AsyncIterable[bytes],
        length: int | None,
        timeouts: Timeouts,
    ) -> httpx.Request:
        sent = list(headers)
        if length is not None:
            sent.append(("content-length", str(length)))
        quiet = max(span(timeouts.first_byte_s), span(timeouts.between_bytes_s))
        clocks = {
            "connect": _or_none(span(timeouts.connect_s)),
            "read": _or_none(quiet),
            "write": _or_none(span(timeouts.first_byte_s)),
            "pool": None,
        }
        url, extensions = self._base + target, {"timeout": clocks}
        try:
            if isinstance(body, bytes):
                return httpx.Request(method, url, headers=sent, content=body, extensions=extensions)
            if length is None:
                sent.append(("transfer-encoding", "chunked"))
            return httpx.Request(method, url, headers=sent, stream=_Pieces(body), extensions=extensions)
        except (httpx.InvalidURL, ValueError, TypeError) as exc:
            raise from_foreign(exc, "connect", sent=False) from exc

    async def _ride(
        self,
        inner: httpx.AsyncBaseTransport,
        request: httpx.Request,
        again: bool,
        timeouts: Timeouts,
        deadline: float,
    ) -> httpx.Response:
        """One attempt, and a second under the same rule as ours (`retry.stale`)."""
        ride = Ride(self._name)
        request.extensions["trace"] = ride.trace
        _RIDE.set(ride)
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            return await self._head(inner, request, timeouts, deadline)
        except TransportError as error:
            if not (again and ride.reused and stale(request.method, error, loop.time() - began)):
                raise
        return await self._head(inner, request, timeouts, deadline)

    async def _head(
        self, inner: httpx.AsyncBaseTransport, request: httpx.Request, timeouts: Timeouts, deadline: float
    ) -> httpx.Response:
        loop = asyncio.get_running_loop()
        until = loop.time() + span(timeouts.first_byte_s)
        clock = asyncio.timeout_at(_or_none(min(until, deadline)))
        try:
            async with clock:
                return await inner.handle_async_request(request)
        except TimeoutError as exc:
            if not clock.expired():
                raise from_foreign(exc, "head") from exc
            kind: Kind = "first_byte_timeout" if until <= deadline else "total_timeout"
            raise TransportError(kind, "no response head in time", sent=True) from exc
        except TransportError:
            raise
        except Exception as exc:
            own = _own_failure(request)
            if own is not None:
                raise own from exc
            raise from_foreign(exc, "head") from exc

    def done(self, exchange: "ForeignExchange", response: httpx.Response) -> None:
        """Give the slot back and let the library close its response in the background."""
        self._open.discard(exchange)
        self.background(self._let_go(response))

    async def _let_go(self, response: httpx.Response) -> None:
        # What a library says while closing a socket that nobody wants changes nothing.
        with contextlib.suppress(Exception):
            await response.stream.aclose()  # type: ignore[union-attr]
        if self._slots is not None:
            self._slots.release()

    def background(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something that `aclose` waits for."""
        task = asyncio.get_running_loop().create_task(work)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def opened(self, exchange: "ForeignExchange") -> None:
        """Remember what has to be closed with the client."""
        self._open.add(exchange)

    async def aclose(self) -> None:
        """Close running exchanges, then the transport. Idempotent."""
        self._closed = True
        if self._slots is not None:
            self._slots.close()
        for exchange in list(self._open):
            exchange.close()
        while self._closing:
            await asyncio.wait(self._closing)
        inner, self._inner = self._inner, None
        if inner is not None:
            await inner.aclose()


class ForeignExchange:
    """The answer of a foreign transport, read like ours."""

    def __init__(self, owner: ForeignTransport, response: httpx.Response, timeouts: Timeouts, deadline: float) -> None:
        self.status = response.status_code
        self.headers: list[tuple[bytes, bytes]] = list(response.headers.raw)
        self.content_encoding = ", ".join(response.headers.get_list("content-encoding")).lower().encode("latin-1")
        self.complete = False
        self._owner = owner
        self._response = response
        self._pieces: AsyncIterator[bytes] | None = None
        self._between_s = span(timeouts.between_bytes_s)
        self._deadline = deadline
        self._next: asyncio.Task[bytes] | None = None
        self._released = False
        self._error: TransportError | None = None
        owner.opened(self)

    def rest(self) -> None:
        """A library's body is never known to be here."""

    async def flow(self, sink: Callable[[bytes], bool], _lane: Lane | None = None) -> None:
        """As the native exchange's, one `chunk` after the other."""
        while (data := await self.chunk()) and sink(data):
            pass

    async def chunk(self) -> bytes:
        """What has come, waiting for the first byte of it; b"" at a complete end. Cancelling it loses nothing."""
        if self.complete:
            return b""
        if self._error is not None:
            raise self._error.again()
        loop = asyncio.get_running_loop()
        if self._next is None:  # a task of its own: cancelling a library's iterator would destroy it
            self._next = loop.create_task(self._pull())
        until = loop.time() + self._between_s
        when = min(until, self._deadline)
        left = None if when == math.inf else max(0.0, when - loop.time())
        done, _ = await asyncio.wait({self._next}, timeout=left)
        if not done:
            kind: Kind = "between_bytes_timeout" if until <= self._deadline else "total_timeout"
            raise self._fail(TransportError(kind, "the body took too long", sent=True, response_started=True))
        task, self._next = self._next, None
        closed = self._closed_meanwhile()
        if closed is not None:
            if not task.cancelled():
                task.exception()
            raise closed
        try:
            data = task.result()
        except Exception as exc:
            raise self._fail(from_foreign(exc, "body")) from exc
        if not data:
            self.complete = True
            self._release()
        return data

    def _closed_meanwhile(self) -> TransportError | None:
        return None if self._error is None else self._error.again()

    async def _pull(self) -> bytes:
        if self._pieces is None:
            stream = self._response.stream
            assert isinstance(stream, httpx.AsyncByteStream)
            self._pieces = stream.__aiter__()
        try:
            while True:
                data = await anext(self._pieces)
                if data:
                    return data
        except StopAsyncIteration:
            await self._response.stream.aclose()  # type: ignore[union-attr]  # httpcore keeps it only when told
            return b""

    def close(self) -> None:
        """Give the response up; the library closes its socket in the next turns of the loop."""
        if not self.complete and self._error is None:
            self._fail(TransportError("closed", "closed by the reader", sent=True, response_started=True))

    def release(self) -> None:
        """As `Exchange.release`: the end of the body is awaited in the background, for a little while."""
        if not self.complete and self._error is None:
            self._owner.background(self._drain())

    async def _drain(self) -> None:
        size = 0
        with contextlib.suppress(TransportError, TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                while size <= DRAIN_BYTES and (data := await self.chunk()):
                    size += len(data)
        self.close()

    def _fail(self, error: TransportError) -> TransportError:
        self._error = error
        self._release()
        return error

    def _release(self) -> None:
        if self._released:
            return
        self._released = True
        if self._next is not None and not self._next.done():
            self._next.cancel()
        self._owner.done(self, self._response)


class _Pieces(httpx.AsyncByteStream):
    """A caller's body, remembering what its iterator raised: libraries wrap that beyond recognition."""

    def __init__(self, body: AsyncIterable[bytes]) -> None:
        self._body = body
        self.failure: Exception | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._body:
                yield piece
        except Exception as exc:
            self.failure = exc
            raise


def _own_failure(request: httpx.Request) -> Exception | None:
    stream = request.stream
    return stream.failure if isinstance(stream, _Pieces) else None


def _or_none(seconds: float) -> float | None:
    return None if seconds == math.inf else seconds
