"""Our own HTTP/1.1 transport, on httptools and asyncio.

Owns the pools of all origins, the order of things in one exchange, and the one silent retry on a stale connection.
Refuses to know base URLs, default headers and content codings. It is an `httpx.AsyncBaseTransport`; `HttpClient` uses
the inner call `exchange` directly, because building httpx's objects costs more than the exchange. Invariants: a
request is retried once at most, only if a *reused* connection gave up before any response byte, and never if its body
cannot be replayed; leaving `exchange` by an exception leaves no socket bound.
"""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterable, AsyncIterator
from typing import NamedTuple

import httpx

from adapters._http.connection import Connection
from adapters._http.errors import TransportError, to_httpx
from adapters._http.exchange import Exchange
from adapters._http.head import HeadWriter, Origin, origin_of, split_length
from adapters._http.pool import Pool
from adapters._http.retry import stale
from adapters._http.timeouts import Timeouts, span


class Request(NamedTuple):
    """One request: `head` is complete; a body that is not bytes is sent chunked unless `length` is given."""

    method: str
    head: bytes
    body: bytes | AsyncIterable[bytes]
    length: int | None


class NativeTransport(httpx.AsyncBaseTransport):
    """Plain HTTP/1.1 over TCP, TLS and unix sockets, with a pool for each origin."""

    def __init__(
        self,
        *,
        verify: bool | str = True,
        uds: str | None = None,
        max_connections: int = 512,
        max_idle: int | None = None,
        keepalive_expiry_s: float = 30.0,
    ) -> None:
        self._verify = verify
        self._uds = uds
        self._limit = max_connections
        self._max_idle = max_connections if max_idle is None else max_idle
        self._expiry_s = keepalive_expiry_s
        self._pools: dict[Origin, Pool] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    def pool(self, origin: Origin) -> Pool:
        """The pool of an origin. Bound to the running loop: a transport serves one loop in its life."""
        loop = asyncio.get_running_loop()
        if self._closed:
            raise TransportError("closed", "the client is closed")
        if self._loop is not loop:
            if self._loop is not None and not self._loop.is_closed():
                raise RuntimeError("this transport belongs to another event loop")
            self._loop, self._pools = loop, {}
        pool = self._pools.get(origin)
        if pool is None:
            pool = self._pools[origin] = Pool(
                origin,
                verify=self._verify,
                limit=self._limit,
                max_idle=self._max_idle,
                keepalive_expiry_s=self._expiry_s,
            )
        return pool

    async def exchange(self, origin: Origin, request: Request, timeouts: Timeouts) -> Exchange:
        """Write one request and wait for the head of its response.

        Raises TransportError, or what the body's iterator raised. Cancelling it closes the socket.
        """
        pool = self.pool(origin)
        loop = pool.loop
        deadline = loop.time() + span(timeouts.total_s)
        # A body that can be read once never rides on a connection that might be stale.
        once = not isinstance(request.body, bytes)
        connection = (None if once else pool.take()) or await pool.acquire(timeouts, deadline, fresh=once)
        reused, began = connection.served > 0, loop.time()
        exchange = _begun(loop, connection, request, timeouts, deadline)
        try:
            while not exchange.answered():
                await exchange.change()
        except TransportError as error:
            exchange.close()
            if not (reused and stale(request.method, error, loop.time() - began)):
                raise
        except BaseException:
            exchange.close()
            raise
        else:
            return exchange
        connection = await pool.acquire(timeouts, deadline, fresh=True, first=True)
        exchange = _begun(loop, connection, request, timeouts, deadline)
        try:
            await exchange.head()
        except BaseException:
            exchange.close()
            raise
        return exchange

    # --- httpx's API over the same inner call ------------------------------------------------------------------------

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """What `httpx.AsyncClient(transport=NativeTransport())` calls. Raises httpx's exceptions."""
        try:
            exchange = await self._exchange_for(request)
        except TransportError as error:
            raise to_httpx(error, request) from error
        return httpx.Response(
            exchange.status,
            headers=exchange.headers,
            stream=_Stream(exchange, request),
            extensions={"http_version": b"HTTP/1.1"},
        )

    async def _exchange_for(self, request: httpx.Request) -> Exchange:
        headers = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in request.headers.raw]
        headers, length = split_length(headers)  # type: ignore[assignment]
        ours = {"transfer-encoding", "connection"}  # httpx writes them, and so do we
        headers = [h for h in headers if h[0].lower() not in ours]
        body: bytes | AsyncIterable[bytes]
        try:
            body = request.content
        except httpx.RequestNotRead:
            body = request.stream  # type: ignore[assignment]
        origin = origin_of(request.url, self._uds)
        path, _, query = request.url.raw_path.decode("ascii").partition("?")
        writer = HeadWriter(origin, "", headers)
        head = writer.head(request.method, path, query, (), framing(request.method, body, length))
        clocks = request.extensions.get("timeout", {})
        timeouts = Timeouts(
            connect_s=clocks.get("connect") or math.inf,
            first_byte_s=clocks.get("read") or math.inf,
            between_bytes_s=clocks.get("read") or math.inf,
            total_s=math.inf,
            pool_s=clocks.get("pool") or math.inf,
        )
        return await self.exchange(origin, Request(request.method, head, body, length), timeouts)

    async def aclose(self) -> None:
        """Close every socket at once and wait until they are gone. Idempotent."""
        self._closed = True
        pools, self._pools = self._pools, {}
        if self._loop is asyncio.get_running_loop():
            await asyncio.gather(*(pool.aclose() for pool in pools.values()))


def _begun(
    loop: asyncio.AbstractEventLoop, connection: Connection, request: Request, timeouts: Timeouts, deadline: float
) -> Exchange:
    """The request is written; its answer's head is still to come."""
    exchange = Exchange(loop, connection, timeouts, deadline, head_only=request.method == "HEAD")
    connection.begin(exchange, request.head, request.body, request.length)
    return exchange


def framing(method: str, body: bytes | AsyncIterable[bytes], length: int | None) -> bytes:
    """The header line that frames the body."""
    if not isinstance(body, bytes):
        return b"transfer-encoding: chunked\r\n" if length is None else b"content-length: %d\r\n" % length
    if body or method not in ("GET", "HEAD", "DELETE", "OPTIONS", "TRACE"):
        return b"content-length: %d\r\n" % len(body)
    return b""


class _Stream(httpx.AsyncByteStream):
    """An exchange's body as httpx wants it."""

    def __init__(self, exchange: Exchange, request: httpx.Request) -> None:
        self._exchange = exchange
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while data := await self._exchange.chunk():
                yield data
        except TransportError as error:
            raise to_httpx(error, self._request) from error

    async def aclose(self) -> None:
        with contextlib.suppress(TransportError):
            self._exchange.close()
