"""What adapters use to talk to an upstream: `HttpClient`, one for each configured upstream, and `HttpResponse`.

Owns the base URL, the default headers, the choice of the transport and the decoding of content codings; refuses to know
dialects, retries across upstreams and what a body means. Invariants: nobody outside this room sees an httpx object or
exception; a response is over when `chunk` has given b"", or when it is closed, and closing never needs an await.
"""

import asyncio
from collections.abc import AsyncIterable, Callable, Coroutine, Iterator, Sequence
from types import TracebackType
from typing import Any, Literal, Protocol, Self

import httpx

from adapters._http.decode import Decoder, decoder
from adapters._http.dial import tls_context
from adapters._http.errors import TransportError
from adapters._http.foreign import ForeignTransport
from adapters._http.head import HeadWriter, lines, origin_of, refused, split_length
from adapters._http.timeouts import Timeouts
from adapters._http.transport import NativeTransport, Request, framing
from proxy.lane import Lane

DRAIN_S = 1.0  # how long a body that is over in meaning may take to be over on the wire

TransportName = Literal["native", "aiohttp", "httpx"]


class Headers:
    """Response headers as they came; names compare without regard to case."""

    __slots__ = ("raw",)

    def __init__(self, raw: list[tuple[bytes, bytes]]) -> None:
        self.raw = raw

    def get(self, name: str) -> str | None:
        """The first value of `name`, or None."""
        wanted = name.lower().encode("latin-1")
        size = len(wanted)
        for key, value in self.raw:
            if len(key) == size and key.lower() == wanted:
                return value.decode("latin-1").strip()
        return None

    def get_all(self, name: str) -> list[str]:
        """Every value of `name`, in order."""
        wanted = name.lower().encode("latin-1")
        return [value.decode("latin-1").strip() for key, value in self.raw if key.lower() == wanted]

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None

    def __iter__(self) -> Iterator[tuple[str, str]]:
        for key, value in self.raw:
            yield key.decode("latin-1").lower(), value.decode("latin-1").strip()

    def __len__(self) -> int:
        return len(self.raw)


class Source(Protocol):
    """An exchange of any transport, its head already there."""

    status: int
    headers: list[tuple[bytes, bytes]]
    content_encoding: bytes
    complete: bool

    def chunk(self) -> Coroutine[Any, Any, bytes]: ...
    def rest(self) -> bytes | None: ...
    def flow(self, sink: Callable[[bytes], bool], lane: Lane | None = None) -> Coroutine[Any, Any, None]: ...
    def close(self) -> None: ...
    def release(self) -> None: ...


class HttpResponse:
    """A response whose head has come. Use it as an async context manager, or `close()` it in a `finally`."""

    __slots__ = ("_decoder", "_ended", "_loop", "_source", "status")

    def __init__(self, source: Source, loop: asyncio.AbstractEventLoop) -> None:
        self.status: int = source.status
        self._source = source
        self._loop = loop
        self._ended = False
        self._decoder: Decoder | None = None
        if source.content_encoding:
            try:
                self._decoder = decoder(source.content_encoding)
            except TransportError:
                source.close()
                raise

    @property
    def headers(self) -> Headers:
        return Headers(self._source.headers)

    def chunk(self) -> Coroutine[Any, Any, bytes]:
        """The next body bytes, decoded, as soon as there are any; b"" at a complete end and ever after.

        Cancelling it loses nothing and does not close. Raises TransportError for everything that is not a complete end.
        """
        if self._decoder is None:  # fast path: no coroutine around the source's own
            return self._source.chunk()
        return self._decoded(self._decoder)

    async def flow(self, sink: Callable[[bytes], bool], lane: Lane | None = None) -> None:
        """Body bytes to `sink`, as they come and without waking anybody for each, until it returns False or the body is
        complete; but for what `lane` takes. `sink` must not raise. Raises TransportError as `chunk` does."""
        if self._decoder is None:
            await self._source.flow(sink, lane)
            return
        while (data := await self._decoded(self._decoder)) and sink(data):
            pass

    async def _decoded(self, decode: Decoder) -> bytes:
        try:
            while not self._ended:
                if out := decode.pull():
                    return out
                data = await self._source.chunk()
                if not data:
                    decode.end()
                    self._ended = True
                else:
                    decode.push(data)
        except TransportError:
            self._source.close()
            raise
        return b""

    def at_hand(self) -> bytes | None:
        """# fast path: the body, if all of it has come already (and is not packed), without a coroutine; else None."""
        return self._source.rest() if self._decoder is None else None

    async def read(self, limit: int) -> bytes:
        """The whole body. Raises TransportError, `too_large` (and closes) if it has more than `limit` bytes."""
        data = self.at_hand()
        if data is not None and len(data) <= limit:
            return data
        data = data or await self.chunk()
        pieces: list[bytes] = []
        size = 0
        while data:
            size += len(data)
            if size > limit:
                self.close()
                raise TransportError(
                    "too_large", f"the body has more than {limit} bytes", sent=True, response_started=True
                )
            pieces.append(data)
            data = await self.chunk()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    @property
    def complete(self) -> bool:
        """Whether the whole response has come from the upstream (it may not have been read to its end yet)."""
        return self._source.complete

    def close(self) -> None:
        """Free the connection: at once, by closing the socket, unless the body is complete. Idempotent."""
        self._source.close()

    def release(self) -> None:
        """The rest of the body is of no interest: if it ends within a second and 64 KiB the connection is kept, else
        closed. Synchronous and idempotent; nothing can be read afterwards."""
        self._source.release()

    def header(self, name: str) -> str | None:
        """The first value of header `name`, or None."""
        return self.headers.get(name)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._source.close()

    def __del__(self) -> None:
        # A response that somebody lost must not keep a connection. The collector may run in any thread.
        source = getattr(self, "_source", None)
        if source is not None and not source.complete and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(source.close)


class HttpClient:
    """HTTP to one upstream. May be made outside an event loop; serves the loop of its first `send`.

    `base_url` may carry a path, which goes before every `path`. `headers` go with every request, `verify` is True,
    False or the path of a CA file, `uds` the path of a unix socket to connect to instead. Raises ValueError for a bad
    base URL, OSError for a CA file that cannot be read, TransportError(request) for bad headers.
    """

    def __init__(  # noqa: PLR0913  the settings of an upstream, by name
        self,
        base_url: str,
        *,
        headers: Sequence[tuple[str, str]] = (),
        timeouts: Timeouts | None = None,
        max_connections: int = 512,
        keepalive_expiry_s: float = 30.0,
        transport: TransportName = "native",
        verify: bool | str = True,
        uds: str | None = None,
    ) -> None:
        try:
            url = httpx.URL(base_url)
        except httpx.InvalidURL as exc:
            raise ValueError(f"{base_url!r} is not a URL: {exc}") from None
        self._origin = origin_of(url, uds)
        if url.query or url.fragment:
            raise ValueError("a base URL has no query and no fragment")
        self._writer = HeadWriter(self._origin, url.raw_path.decode("ascii"), headers)
        if isinstance(verify, str):
            tls_context(verify)  # kept, so that the first connection finds it ready
        self._timeouts = timeouts or Timeouts()
        self._native: NativeTransport | None = None
        self._foreign: ForeignTransport | None = None
        if transport == "native":
            self._native = NativeTransport(
                verify=verify, uds=uds, max_connections=max_connections, keepalive_expiry_s=keepalive_expiry_s
            )
        elif transport in ("aiohttp", "httpx"):
            self._foreign = ForeignTransport(
                transport,
                self._origin,
                verify=verify,
                max_connections=max_connections,
                keepalive_expiry_s=keepalive_expiry_s,
            )
        else:
            raise ValueError(f"transport {transport!r} is none of native, aiohttp, httpx")

    async def send(
        self,
        method: str,
        path: str,
        *,
        headers: Sequence[tuple[str, str]] = (),
        content: bytes | AsyncIterable[bytes] = b"",
        query: str = "",
        timeouts: Timeouts | None = None,
    ) -> HttpResponse:
        """Send one request; returns when the response head has come, whatever its status (redirects are not followed).

        `path` and `query` are percent-encoded. A header here replaces the client's default of the same name. An
        iterated `content` is sent chunked, or as it is if `headers` give its content-length, and is never sent twice.
        Cancelling closes the socket. Raises TransportError, or what the iterator raised.
        """
        clocks = timeouts or self._timeouts
        headers, length = split_length(headers)
        if isinstance(content, bytes):
            if length is not None and length != len(content):
                raise refused(f"content-length {length} for a body of {len(content)} bytes")
            length = None
        native = self._native
        if native is not None:
            head = self._writer.head(method, path, query, headers, framing(method, content, length))
            exchange = await native.exchange(self._origin, Request(method, head, content, length), clocks)
            return HttpResponse(exchange, exchange.loop)
        assert self._foreign is not None
        target = self._writer.path(path, query)
        sent = self._writer.headers(headers)
        lines(sent)  # the same refusals
        source: Source = await self._foreign.exchange(method, target, sent, content, length, clocks)
        return HttpResponse(source, asyncio.get_running_loop())

    async def aclose(self) -> None:
        """Close every connection, running exchanges included, and wait until the sockets are gone. Idempotent."""
        if self._native is not None:
            await self._native.aclose()
        if self._foreign is not None:
            await self._foreign.aclose()
