"""One connection of a double: HTTP/1.1 over an asyncio protocol and httptools, and the record of what was asked.

It owns parsing, framing, the breaking of connections and how each exchange ended; what is answered comes from the double.
"""

import asyncio
import contextlib
import json
import socket
import struct
import time
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

import httptools

from fakes.doubles.faults import Answer, Fault

if TYPE_CHECKING:
    from fakes.doubles.server import Double


@dataclass(slots=True)
class Seen:
    """One request as it arrived. `ended` is "" while it runs, then complete, client_closed, stopped or fault:NAME."""

    port: str
    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    at: float
    connection: int
    status: int = 0
    sent: int = 0
    ended: str = ""
    ended_at: float = 0.0
    _over: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def path(self) -> str:
        return unquote(urlsplit(self.target).path)

    @property
    def query(self) -> dict[str, str]:
        """The last value of each query parameter; a fragment never reaches a server, so none is looked for."""
        pairs = parse_qs(self.target.partition("?")[2], keep_blank_values=True)
        return {name: values[-1] for name, values in pairs.items()}

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def holds(self, secret: str) -> bool:
        """Whether the secret travelled anywhere in this request."""
        return secret in self.target or any(secret in v for v in self.headers.values()) or secret.encode() in self.body

    async def over(self) -> str:
        """Wait (5 s at most) until the exchange ended; returns how."""
        async with asyncio.timeout(5):
            await self._over.wait()
        return self.ended

    def end(self, how: str) -> None:
        if not self.ended:
            self.ended, self.ended_at = how, time.monotonic()
            self._over.set()


class Link(asyncio.Protocol):
    """One accepted connection: requests in order, one answer at a time, the close noticed at once."""

    def __init__(self, double: "Double", port: str) -> None:
        self.double, self.port = double, port
        self.number = next(double._connections)
        self.parser = httptools.HttpRequestParser(self)
        self.transport: asyncio.Transport
        self.worker: asyncio.Task[None] | None = None
        self.waiting: deque[Seen] = deque()
        self.current: Seen | None = None
        self.writable = asyncio.Event()
        self.writable.set()
        self._reset_parts()

    def _reset_parts(self) -> None:
        self.target, self.fields, self.body = b"", [], bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.double.clients.add(self)

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            self.transport.close()

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        headers: dict[str, str] = {}
        for name, value in self.fields:
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        method, target = (
            self.parser.get_method().decode(),
            self.target.decode("latin-1"),
        )
        seen = Seen(
            self.port,
            method,
            target,
            headers,
            bytes(self.body),
            time.monotonic(),
            self.number,
        )
        self._reset_parts()
        self.double.record(seen)
        self.waiting.append(seen)
        if self.worker is None or self.worker.done():
            self.worker = asyncio.get_running_loop().create_task(self._serve())

    async def _serve(self) -> None:
        try:
            while self.waiting and not self.transport.is_closing():
                self.current = seen = self.waiting.popleft()
                await self._answer(seen)
        except asyncio.CancelledError:
            pass
        finally:
            if self.current:
                self.current.end("client_closed")

    async def _answer(self, seen: Seen) -> None:
        fault = self.double.take_fault(seen) or Fault("")
        answer = None if fault.replaces and not fault.accepted else await self.double.dispatch(seen)
        if fault.delay:
            await asyncio.sleep(fault.delay)
        if fault.hangs:
            await asyncio.get_running_loop().create_future()
        if fault.make:
            answer = fault.make(self.double, seen)
        if fault.ending and fault.after is None:
            self.abort(f"fault:{fault.name}", reset=fault.ending == "reset")
            return
        assert answer is not None
        seen.status = answer.status
        await self._write(seen, answer, fault)

    async def _write(self, seen: Seen, answer: Answer, fault: Fault) -> None:
        head, framed = answer.head()
        await self._send(head, fault)
        async with contextlib.aclosing(fault.pass_events(answer.stream())) as events:
            if not await self._write_body(seen, events, fault, framed):
                return
        if framed:
            await self._send(b"0\r\n\r\n", fault)
        await self.writable.wait()
        self.current = None
        seen.end("complete")
        if answer.closes:
            self.transport.close()

    async def _write_body(self, seen: Seen, events: AsyncGenerator[bytes, None], fault: Fault, framed: bool) -> bool:
        """False when the fault broke the connection on the way."""
        async for chunk in events:
            room = None if fault.after is None else fault.after - seen.sent
            part = chunk if room is None else chunk[: max(0, room)]
            if part:
                await self._send(
                    f"{len(part):x}\r\n".encode() + part + b"\r\n" if framed else part,
                    fault,
                )
            seen.sent += len(part)
            if room is not None and room <= len(chunk):
                await asyncio.sleep(0.02)  # what was written must arrive before the connection breaks
                self.abort(f"fault:{fault.name}", reset=fault.ending == "reset")
                return False
        return True

    async def _send(self, data: bytes, fault: Fault) -> None:
        for piece in fault.pieces(data):
            await self.writable.wait()
            self.transport.write(piece)
            if len(piece) != len(data):
                await asyncio.sleep(fault.pause)

    def abort(self, how: str, *, reset: bool = True) -> None:
        """Break the connection: RST, or a FIN where one expects more."""
        if self.current:
            self.current.end(how)
            self.current = None
        if reset:
            linger = struct.pack("ii", 1, 0)
            with contextlib.suppress(OSError):
                self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.transport.abort()
        else:
            self.transport.close()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.double.clients.discard(self)
        if self.current:
            self.current.end("client_closed")
        if self.worker and not self.worker.done():
            self.worker.cancel()
