"""A server that says exactly the bytes that a test tells it to, over TCP, TLS or a unix socket.

Owns sockets, the reading of requests, and what the server sees of the client: when it closed, how much it takes.
Refuses to build valid HTTP for you. Invariants: standard library only; nothing is sent that the script did not send; a script's
exception fails the test that runs the server.
"""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, cast


class ClientGone(Exception):
    """The client closed or reset the connection while the script wanted something from it."""


@dataclass
class Heard:
    """A request as it came."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    raw_head: bytes = field(repr=False)

    def header(self, name: str) -> list[str]:
        """Every value of `name`."""
        return [v for n, v in self.headers if n.lower() == name.lower()]


class Peer(asyncio.Protocol):
    """One accepted connection, as the script sees it."""

    def __init__(self, server: "RawServer") -> None:
        self.gone = asyncio.Event()  # the client closed its side, or the connection broke
        self.gone_at = 0.0  # loop time
        self.taken = 0  # bytes that left our buffer for the kernel
        self.data = bytearray()  # received and not yet consumed
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._task: asyncio.Task[None] | None = None

    # --- what scripts use --------------------------------------------------------------------------------------------

    async def request(self) -> Heard:
        """Read one request to its end. Raises ClientGone."""
        head = await self.until(b"\r\n\r\n")
        lines = head[:-4].decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ", 2)
        headers = [cast(tuple[str, str], tuple(line.split(": ", 1))) for line in lines[1:]]
        heard = Heard(method, target, headers, b"", head)
        if heard.header("transfer-encoding") == ["chunked"]:
            while size := int(await self.until(b"\r\n"), 16):
                heard.body += (await self.exactly(size + 2))[:-2]
            await self.until(b"\r\n")
        elif length := heard.header("content-length"):
            heard.body = await self.exactly(int(length[0]))
        self._server.heard.append(heard)
        return heard

    async def until(self, end: bytes) -> bytes:
        """Consume up to and with `end`. Raises ClientGone."""
        while (at := self.data.find(end)) < 0:
            await self._more()
        return self._consume(at + len(end))

    async def exactly(self, size: int) -> bytes:
        """Consume `size` bytes. Raises ClientGone."""
        while len(self.data) < size:
            await self._more()
        return self._consume(size)

    async def send(self, data: bytes) -> None:
        """Write, and wait until the kernel has taken it all. Raises ClientGone."""
        transport = self.transport
        if transport.is_closing():
            raise ClientGone
        transport.write(data)
        await self._room.wait()
        if transport.is_closing():
            raise ClientGone
        self.taken += len(data)

    async def bytewise(self, data: bytes) -> None:
        """Send one byte a write, giving the client the chance to read each by itself."""
        for i in range(len(data)):
            await self.send(data[i : i + 1])
            await asyncio.sleep(0)

    def stop_reading(self) -> None:
        """Take no more from the client."""
        self.transport.pause_reading()

    def read_on(self) -> None:
        """Take from the client again."""
        self.transport.resume_reading()

    def close(self) -> None:
        """Close in order, after what was written."""
        self.transport.close()

    def reset(self) -> None:
        """Close with a TCP reset."""
        if self.transport.is_closing():
            return
        sock = self.transport.get_extra_info("socket")
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    @property
    def transport(self) -> asyncio.Transport:
        """The asyncio transport."""
        assert self._transport is not None
        return self._transport

    async def _more(self) -> None:
        if self.gone.is_set():
            raise ClientGone
        self._news.clear()
        await self._news.wait()

    def _consume(self, size: int) -> bytes:
        out = bytes(self.data[:size])
        del self.data[:size]
        return out

    # --- what asyncio calls ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=1, low=0)  # with 0, uvloop over TLS never says "resume"
        self._server.made(self)
        self._task = asyncio.get_running_loop().create_task(self._server.play(self))

    def data_received(self, data: bytes) -> None:
        self.data += data
        self._news.set()

    def eof_received(self) -> bool:
        self._left()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._left()
        self._room.set()
        self._server.lost(self)

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def _left(self) -> None:
        if not self.gone.is_set():
            self.gone_at = asyncio.get_running_loop().time()
            self.gone.set()
        self._news.set()

    async def stop(self) -> None:
        """End the script."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task


Script = Callable[[Peer], Awaitable[None]]


class RawServer:
    """Runs `script` for each connection; the connection is closed when it returns. An async context manager."""

    def __init__(
        self, script: Script, *, tls: ssl.SSLContext | None = None, uds: str | None = None, host: str = "127.0.0.1"
    ) -> None:
        self.port = 0  # of TCP, once it is running
        self.accepted = 0
        self.peak = 0  # most connections open at once
        self.open: set[Peer] = set()
        self.peers: list[Peer] = []
        self.heard: list[Heard] = []
        self.failures: list[BaseException] = []
        self._script = script
        self._tls = tls
        self._uds = uds
        self._host = host
        self._server: asyncio.Server | None = None
        self._changed = asyncio.Event()

    @property
    def url(self) -> str:
        """The base URL, with a name that test certificates carry."""
        if self._uds is not None:
            return "https://localhost" if self._tls else "http://localhost"
        return f"https://localhost:{self.port}" if self._tls else f"http://{self._host}:{self.port}"

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait until `true()` holds; looked at whenever a connection comes or goes."""
        while not true():
            self._changed.clear()
            await self._changed.wait()

    async def play(self, peer: Peer) -> None:
        """Run the script on a connection."""
        try:
            await self._script(peer)
        except ClientGone:
            pass
        except Exception as exc:  # noqa: BLE001  it fails the test, in __aexit__
            self.failures.append(exc)
        finally:
            peer.close()

    def made(self, peer: Peer) -> None:
        """A connection came."""
        self.accepted += 1
        self.peers.append(peer)
        self.open.add(peer)
        self.peak = max(self.peak, len(self.open))
        self._changed.set()

    def lost(self, peer: Peer) -> None:
        """A connection went."""
        self.open.discard(peer)
        self._changed.set()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        if self._uds is not None:
            self._server = await loop.create_unix_server(lambda: Peer(self), self._uds, ssl=self._tls)
        else:
            self._server = await loop.create_server(lambda: Peer(self), self._host, 0, ssl=self._tls)
            self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for peer in self.peers:
            await peer.stop()
        for peer in list(self.open):
            peer.transport.abort()
        await self.until(lambda: not self.open)
        if self.failures and error is None:
            raise ExceptionGroup("the server's script failed", [e for e in self.failures if isinstance(e, Exception)])


def answer(body: bytes = b"", status: str = "200 OK", *headers: str) -> bytes:
    """A response with a content-length."""
    lines = [f"HTTP/1.1 {status}", *headers, f"content-length: {len(body)}"]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body; the last one for b""."""
    return b"%x\r\n%b\r\n" % (len(data), data)


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
