"""Socket plumbing that every double stands on: listeners, requests as they were seen, answers, routes and rates.

It owns HTTP/1.1 on real loopback sockets (asyncio protocols over httptools) and knows no vendor. Invariants: each request
is recorded before it is answered and says afterwards how it ended; a request that no route knows is refused; nothing is
shared with the code under test.
"""

import asyncio
import contextlib
import itertools
import json
import re
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self
from urllib.parse import parse_qs, unquote, urlsplit

import httptools
from fakes.doubles.faults import Answer, Fault

Handler = Callable[..., Awaitable[Answer]]


class Refuse(Exception):
    """Raised by a handler to answer at once with a captured refusal."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


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

    async def over(self, timeout: float = 5.0) -> str:
        """Wait until the exchange ended; returns how."""
        async with asyncio.timeout(timeout):
            await self._over.wait()
        return self.ended

    def end(self, how: str) -> None:
        if not self.ended:
            self.ended, self.ended_at = how, time.monotonic()
            self._over.set()


@dataclass(slots=True)
class Bucket:
    """A token bucket: `take` says (granted, whole tokens left, seconds until the next one)."""

    per_second: float
    burst: float
    level: float = -1.0
    stamp: float = 0.0

    def take(self) -> tuple[bool, int, float]:
        now = time.monotonic()
        full = self.level < 0
        self.level = self.burst if full else min(self.burst, self.level + (now - self.stamp) * self.per_second)
        self.stamp = now
        granted = self.level >= 1
        if granted:
            self.level -= 1
        wait = max(0.0, (1 - self.level) / self.per_second) if self.per_second else 3600.0
        return granted, int(self.level), wait


@dataclass(frozen=True, slots=True)
class Pace:
    """Latencies in seconds. The defaults keep a suite quick; `slow` shows queues and cold starts."""

    queue: float = 0.05
    first: float = 0.05
    token: float = 0.02
    image: float = 0.3
    cold: float = 0.2

    @classmethod
    def slow(cls) -> Self:
        return cls(queue=2.0, cold=5.0)

    @classmethod
    def quick(cls) -> Self:
        return cls(queue=0.01, first=0.005, token=0.001, image=0.02, cold=0.03)


class Timeline:
    """The steps that a job passes, by time (seconds between steps) or, when manual, one `advance` at a time."""

    def __init__(self, delays: list[float], *, manual: bool = False) -> None:
        self.marks = list(itertools.accumulate(delays, initial=time.monotonic()))[1:]
        self.manual = manual
        self._by_hand = 0
        self._frozen: int | None = None
        self._moved = asyncio.Event()

    @property
    def position(self) -> int:
        """How many steps have been passed."""
        if self._frozen is not None:
            return self._frozen
        now = time.monotonic()
        return self._by_hand if self.manual else sum(1 for mark in self.marks if mark <= now)

    @property
    def frozen(self) -> bool:
        return self._frozen is not None

    def advance(self, steps: int = 1) -> None:
        self._by_hand = min(len(self.marks), self._by_hand + steps)
        self._wake()

    def freeze(self) -> None:
        """Stop where it stands (cancelled, aborted)."""
        self._frozen = self.position
        self._wake()

    def _wake(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()

    async def reach(self, step: int) -> bool:
        """Wait until `step` steps are passed; False when it was frozen before that."""
        while self.position < step:
            if self.frozen:
                return False
            wait = None if self.manual else max(0.0, self.marks[step - 1] - time.monotonic()) + 0.0005
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._moved.wait(), wait)
        return True


@dataclass(frozen=True, slots=True)
class Route:
    method: str
    pattern: re.Pattern[str]
    name: str
    auth: bool
    port: str


def route(method: str, path: str, *, auth: bool = True, port: str = "api") -> Callable[[Handler], Handler]:
    """Mark a method as the handler of METHOD path; `{x}` is one segment, `{x:path}` several. Raw paths are matched."""
    pattern = re.sub(r"\{(\w+):path\}", r"(?P<\1>[^?#]+)", path)
    pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/?#]+)", pattern)

    def mark(handler: Handler) -> Handler:
        rows = getattr(handler, "_routes", [])
        rows.append((method, re.compile(pattern), auth, port))
        handler._routes = rows  # type: ignore[attr-defined]
        return handler

    return mark


class Double:
    """A loopback upstream. `async with` runs it on the running loop, `with` on a loop in a thread of its own."""

    kind: ClassVar[str] = ""
    ports: ClassVar[tuple[str, ...]] = ("api", "files")
    routes: ClassVar[tuple[Route, ...]] = ()

    def __init__(self, *, key: str = "", pace: Pace | None = None, manual: bool = False) -> None:
        self.key = key or f"canary-{self.kind}-key-5b1d07"
        self.pace = pace or Pace()
        self.manual = manual
        self.requests: list[Seen] = []
        self.clients: set[Link] = set()
        self._faults: deque[tuple[Fault, str | None, re.Pattern[str], str]] = deque()
        self._servers: dict[str, asyncio.Server] = {}
        self._addresses: dict[str, int] = {}
        self._numbers = itertools.count(1)
        self._background: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def __init_subclass__(cls) -> None:
        rows: list[Route] = []
        for name in dir(cls):
            for method, pattern, auth, port in getattr(getattr(cls, name), "_routes", []):
                rows.append(Route(method, pattern, name, auth, port))
        # A literal segment beats a placeholder, as in any router.
        cls.routes = tuple(
            sorted(
                rows,
                key=lambda row: (
                    "[^?#]+" in row.pattern.pattern,
                    row.pattern.pattern.count("(?P"),
                ),
            )
        )

    # -- life ---------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        for name in self.ports:
            await self._listen(name)
        return self

    async def __aexit__(self, *exc: object) -> None:
        for task in list(self._background):
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        for server in self._servers.values():
            server.close()
        workers = [link.worker for link in self.clients if link.worker]
        for link in list(self.clients):
            link.abort("stopped")
        await asyncio.gather(*workers, return_exceptions=True)
        for server in self._servers.values():
            await server.wait_closed()

    def __enter__(self) -> Self:
        ready = threading.Event()

        async def live() -> None:
            self._stop = asyncio.Event()
            async with self:
                ready.set()
                await self._stop.wait()

        self._thread = threading.Thread(target=lambda: asyncio.run(live()), daemon=True, name=f"double-{self.kind}")
        self._thread.start()
        if not ready.wait(10):
            raise RuntimeError("the double did not start")
        return self

    def __exit__(self, *exc: object) -> None:
        self.call(self._stop.set)
        if self._thread:
            self._thread.join(10)

    def call(self, action: Callable[[], object]) -> None:
        """Run `action` on the double's own loop (safe from any thread)."""
        if self._thread and self._loop:
            self._loop.call_soon_threadsafe(action)
        else:
            action()

    def spawn(self, work: Awaitable[None]) -> None:
        """Keep a background task (webhook senders) until it ends or the double stops."""

        async def run() -> None:
            await work

        task = asyncio.get_running_loop().create_task(run())
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _listen(self, name: str) -> None:
        loop = asyncio.get_running_loop()
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", self._addresses.get(name, 0)))
        self._addresses[name] = sock.getsockname()[1]
        self._servers[name] = await loop.create_server(lambda: Link(self, name), sock=sock, backlog=1024)

    @contextlib.asynccontextmanager
    async def refusing(self, port: str = "api") -> AsyncIterator[None]:
        """Nobody listens for a while: connections are refused, those that are open are reset."""
        self._servers[port].close()
        for link in [link for link in self.clients if link.port == port]:
            link.abort("fault:refusing")
        try:
            yield
        finally:
            await self._listen(port)

    def origin(self, port: str = "api") -> str:
        return f"http://127.0.0.1:{self._addresses[port]}"

    @property
    def base_url(self) -> str:
        return self.origin()

    # -- the side channel ---------------------------------------------------------------------------------------------

    def script(
        self,
        *faults: Fault,
        method: str | None = None,
        path: str = "",
        port: str = "api",
    ) -> None:
        """Queue faults: each is used once, by the next request of that method whose path contains the pattern `path`."""
        for fault in faults:
            self._faults.append((fault, method, re.compile(path), port))

    @property
    def unused_faults(self) -> int:
        return len(self._faults)

    def take_fault(self, seen: Seen) -> Fault | None:
        for row in self._faults:
            fault, method, path, port = row
            if port == seen.port and method in (None, seen.method) and path.search(seen.path):
                self._faults.remove(row)
                return fault
        return None

    def seen(self, method: str | None = None, path: str = "", port: str = "api") -> list[Seen]:
        """The recorded requests of that method and port whose path contains the pattern."""
        return [s for s in self.requests if s.port == port and method in (None, s.method) and re.search(path, s.path)]

    @property
    def leaks(self) -> list[Seen]:
        """Requests to another port than the API's that carried the key."""
        return [s for s in self.requests if s.port != "api" and s.holds(self.key)]

    # -- what a kind fills in -----------------------------------------------------------------------------------------

    def no_route(self, seen: Seen) -> Answer:
        raise NotImplementedError

    def no_method(self, seen: Seen, allowed: list[str]) -> Answer:
        raise NotImplementedError

    def check_auth(self, seen: Seen) -> Answer | None:
        """A refusal, or None when the key is right."""
        raise NotImplementedError

    def throttled(self, seen: Seen, retry_after: float | None) -> Answer:
        """The 429 of this kind."""
        raise NotImplementedError

    def finish(self, seen: Seen, answer: Answer) -> Answer:
        """Last touch on each answer (rate headers)."""
        return answer

    def check_rate(self, seen: Seen) -> Answer | None:
        return None

    async def dispatch(self, seen: Seen) -> Answer:
        raw = urlsplit(seen.target).path
        rows = [(row, m) for row in self.routes if row.port == seen.port and (m := row.pattern.fullmatch(raw))]
        if not rows:
            return self.finish(seen, self.no_route(seen))
        here = [(row, m) for row, m in rows if row.method == seen.method]
        if not here:
            return self.finish(seen, self.no_method(seen, sorted({row.method for row, _ in rows})))
        found, match = here[0]
        refusal = (self.check_auth(seen) if found.auth else None) or self.check_rate(seen)
        if refusal:
            return self.finish(seen, refusal)
        try:
            answer = await getattr(self, found.name)(seen, **{k: unquote(v) for k, v in match.groupdict().items()})
        except Refuse as refused:
            answer = refused.answer
        return self.finish(seen, answer)


class Link(asyncio.Protocol):
    """One accepted connection: requests in order, one answer at a time, the close noticed at once."""

    def __init__(self, double: Double, port: str) -> None:
        self.double, self.port = double, port
        self.number = next(double._numbers)
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
        self.double.requests.append(seen)
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
        async for chunk in fault.pass_events(answer.stream()):
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
                return
        if framed:
            await self._send(b"0\r\n\r\n", fault)
        await self.writable.wait()
        self.current = None
        seen.end("complete")
        if answer.closes:
            self.transport.close()

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


def field_names(body: Mapping[str, Any], allowed: frozenset[str]) -> Iterator[str]:
    """The keys of `body` that are not allowed, in order."""
    return (name for name in body if name not in allowed)
