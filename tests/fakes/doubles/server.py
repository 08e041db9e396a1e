"""What every double stands on: listeners on loopback, routes, the side channel for faults, life in a loop or a thread.

It owns HTTP/1.1 on real sockets (with `link`) and knows no vendor. Invariants: each request is recorded before it is
answered and says afterwards how it ended; a request that no route knows is refused; nothing is shared with the code
under test.
"""

import asyncio
import contextlib
import itertools
import re
import socket
import threading
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import ClassVar, Self
from urllib.parse import unquote, urlsplit

from fakes.doubles.clockwork import Bucket, Pace, Timeline
from fakes.doubles.faults import Answer, Fault
from fakes.doubles.link import Link, Seen

__all__ = ["Answer", "Bucket", "Double", "Fault", "Pace", "Refuse", "Seen", "Timeline", "route"]

Handler = Callable[..., Awaitable[Answer]]


class Refuse(Exception):
    """Raised by a handler to answer at once with a captured refusal."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


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
        self._connections = itertools.count(1)
        self._background: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._died: BaseException | None = None
        self._news = asyncio.Event()

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

        def run() -> None:
            try:
                asyncio.run(live())
            except BaseException as error:  # noqa: BLE001 - it is raised again where the test leaves the double
                self._died = error

        self._thread = threading.Thread(target=run, daemon=True, name=f"double-{self.kind}")
        self._thread.start()
        if not ready.wait(10):
            raise RuntimeError("the double did not start")
        return self

    def __exit__(self, *exc: object) -> None:
        self.call(self._stop.set)
        if self._thread:
            self._thread.join(10)
        if self._died and exc[0] is None:
            raise self._died

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

    async def arrived(self, count: int, method: str | None = None, path: str = "", port: str = "api") -> list[Seen]:
        """Wait (5 s at most) until that many such requests have arrived; returns them."""
        async with asyncio.timeout(5):
            while len(found := self.seen(method, path, port)) < count:
                await self._news.wait()
        return found

    def record(self, seen: Seen) -> None:
        self.requests.append(seen)
        self._news.set()
        self._news = asyncio.Event()

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
