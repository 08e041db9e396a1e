"""The evil upstream for tests: in the test's own loop, or in a thread of its own.

`async with evil() as mock` where the test is async; `with evil_thread() as mock` where it is not, or where the code under
test must not share a loop with its upstream. Both listen on a free port and record every request.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from proxy.mock import Exchange, Fault, MockOptions, MockServer, Script


@asynccontextmanager
async def evil(tls: Any = None, **options: Any) -> AsyncIterator[MockServer]:
    """A mock in the running loop; keyword arguments are those of `MockOptions`."""
    async with MockServer(MockOptions(**options), tls) as mock:
        yield mock


class EvilThread:
    """A mock in a thread: the same methods as `MockServer`, callable from any thread, waiting by blocking."""

    def __init__(self, mock: MockServer, loop: asyncio.AbstractEventLoop):
        self._mock = mock
        self._loop = loop
        self.url = mock.url
        self.origin = mock.origin
        self.port = mock.port
        self.journal = mock.journal

    @property
    def exchanges(self) -> list[Exchange]:
        return list(self._mock.exchanges)

    def script(self, *scripts: Script | Fault) -> None:
        self._call(self._script(scripts))

    def clear(self) -> None:
        """Forget scripts and records."""
        self._call(self._clear())

    def wait_for(self, count: int, seconds: float = 10.0) -> Exchange:
        """The exchange number `count` (from 1), waited for."""
        found: Exchange = self._call(self._mock.journal.wait_for(count, seconds))
        return found

    def wait(self, exchange: Exchange, mark: Any = "ended", seconds: float = 10.0) -> float:
        """The time of a mark of that exchange, waited for."""
        time: float = self._call(exchange.wait(mark, seconds))
        return time

    def release(self, exchange: Exchange) -> None:
        self._loop.call_soon_threadsafe(exchange.release)

    async def _script(self, scripts: tuple[Script | Fault, ...]) -> None:
        self._mock.script(*scripts)

    async def _clear(self) -> None:
        self._mock.queue.clear()
        self._mock.journal.clear()

    def _call(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)


@contextmanager
def evil_thread(tls: Any = None, **options: Any) -> Iterator[EvilThread]:
    """A mock in a thread of its own; keyword arguments are those of `MockOptions`."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="evil-upstream", daemon=True)
    thread.start()
    mock = MockServer(MockOptions(**options), tls)
    try:
        asyncio.run_coroutine_threadsafe(mock.start(), loop).result(10)
        try:
            yield EvilThread(mock, loop)
        finally:
            asyncio.run_coroutine_threadsafe(mock.stop(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
