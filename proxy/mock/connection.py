"""One client connection of the mock: bytes in, requests out, steps played back.

Owns the parser, the socket and the moment at which the client's leaving is seen. Decides nothing about answers.
Invariants: requests of one connection are answered one after another; reading never stops, so a close is seen at once
even while writing stalls; each exchange is ended exactly once.
"""

import asyncio
import os
import socket
import struct
from typing import TYPE_CHECKING, cast

import httptools
import msgspec

from proxy.mock.control import PREFIX, control
from proxy.mock.journal import End, Exchange
from proxy.mock.transcript import Step, steps

if TYPE_CHECKING:
    from proxy.mock.server import MockServer

Headers = list[tuple[str, str]]

_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Connection(asyncio.Protocol):
    """An `asyncio.Protocol` for one accepted socket."""

    def __init__(self, server: "MockServer"):
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._requests: asyncio.Queue[tuple[str, str, Headers, bytes, bool]] = asyncio.Queue()
        self._writable = asyncio.Event()
        self._writable.set()
        self._exchange: Exchange | None = None
        self._written = 0
        self._drained = 0
        self._inside = False
        self.number = 0
        self.task: asyncio.Task[None] | None = None

    # -- asyncio.Protocol -------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast, since uvloop's transports are none of asyncio's classes.
        self._transport = cast("asyncio.Transport", transport)
        # No buffer of our own: what was written and drained is the kernel's, so counts and times are honest.
        self._transport.set_write_buffer_limits(high=1, low=0)
        self.number = self._server.journal.opened()
        self._server.connections.add(self)
        self.task = asyncio.get_running_loop().create_task(self._serve())
        self.task.add_done_callback(self._served)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # an offer to upgrade may be ignored
        except httptools.HttpParserError:
            assert self._transport is not None
            self._transport.write(_BAD_REQUEST)
            self._transport.close()

    def eof_received(self) -> bool:
        # A client that half-closes has left, as far as we go: waiting for our own writes to fail would cost time.
        self._left("client_closed")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._left("client_closed" if exc is None else "reset")
        self._writable.set()
        if self.task is not None:
            self.task.cancel()
        self._server.connections.discard(self)
        self._server.journal.closed(self._inside)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def stop(self) -> None:
        """Drop the connection: the mock is going down."""
        self._left("stopped")
        if self._transport is not None:
            self._transport.abort()

    # -- httptools --------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._inside = True
        self._url = b""
        self._headers: Headers = []
        self._body: list[bytes] = []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        if ("expect", "100-continue") in self._headers and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        self._inside = False
        method = self._parser.get_method().decode("ascii")
        keep = self._parser.should_keep_alive()
        self._requests.put_nowait((method, self._url.decode("latin-1"), self._headers, b"".join(self._body), keep))

    # -- playing ----------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        while True:
            method, target, headers, body, keep = await self._requests.get()
            if target.startswith(PREFIX):
                await self._control(method, target, body)
                continue
            exchange = self._server.journal.note(self.number, method, target, headers, body)
            self._exchange, self._written, self._drained = exchange, 0, 0
            plan = self._plan(exchange, keep)
            if not await self._play(exchange, plan):
                return
            self._exchange = None

    def _plan(self, exchange: Exchange, keep: bool) -> list[Step]:
        try:
            decoded = msgspec.json.decode(exchange.body) if exchange.body else None
        except (msgspec.DecodeError, UnicodeDecodeError):
            decoded = None
        path = exchange.path.removeprefix(self._server.options.prefix)
        script = self._server.queue.take(exchange.number, path, decoded)
        answer = self._server.backend.answer(exchange, script)
        exchange.faults = [str(fault) for fault in script.faults]
        exchange.status = answer.status
        seed = f"{self._server.options.seed}/{exchange.number}"
        return steps(answer, keep_alive=keep, head_only=exchange.method == "HEAD", seed=seed)

    async def _play(self, exchange: Exchange, plan: list[Step]) -> bool:
        """Do the steps; whether the connection lives on."""
        assert self._transport is not None
        for step in plan:
            if step.do == "send":
                self._transport.write(step.data)
                self._written += len(step.data)
                exchange.mark("answering")
                await self._writable.wait()
                self._drained = self._written
            elif step.do == "pause":
                await asyncio.sleep(step.seconds)
            elif step.do == "hold":
                exchange.bytes_sent = self._written
                await exchange.held()
            else:
                self._end(exchange, step)
                return False
        exchange.bytes_sent = self._written
        exchange.finish("finished")
        return True

    def _end(self, exchange: Exchange, step: Step) -> None:
        assert self._transport is not None
        exchange.bytes_sent = self._written
        exchange.finish("finished" if step.do == "close" else "faulted")
        if step.do == "reset":
            _linger_not(self._transport)
            self._transport.abort()
        else:
            self._transport.close()

    def _served(self, task: "asyncio.Task[None]") -> None:
        # A mistake of ours must be seen: the connection ends at once, and the loop reports the exception.
        if not task.cancelled() and task.exception() is not None:
            if self._transport is not None:
                self._transport.abort()
            task.get_loop().call_exception_handler(
                {"message": "the mock failed to answer", "exception": task.exception(), "task": task}
            )

    async def _control(self, method: str, target: str, body: bytes) -> None:
        assert self._transport is not None
        status, answer = await control(method, target, body, self._server.queue, self._server.journal)
        head = f"HTTP/1.1 {status} Mock\r\ncontent-type: application/json\r\ncontent-length: {len(answer)}\r\n\r\n"
        self._transport.write(head.encode() + answer)

    def _left(self, end: End) -> None:
        exchange = self._exchange
        if exchange is not None and exchange.end is None:
            # A lost transport has emptied its buffer: then only what was drained before is known to have left.
            waiting = self._transport.get_write_buffer_size() if self._transport is not None else 0
            whole = waiting or self._writable.is_set()
            exchange.bytes_sent = self._written - waiting if whole else self._drained
            exchange.finish(end)


def _linger_not(transport: asyncio.Transport) -> None:
    """Make the coming close an RST: whatever loop runs, the option is set on the socket itself."""
    handle = transport.get_extra_info("socket")
    if handle is None or handle.family not in (socket.AF_INET, socket.AF_INET6):
        return
    with socket.socket(fileno=os.dup(handle.fileno())) as same:
        same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
