"""Where heavy media work is done: a few threads and a budget of bytes, both bounded for the whole process.

It owns how much may run at once and knows nothing of what runs. Invariants: the costs of the running jobs sum to no
more than the budget (one job larger than it runs alone), jobs start in the order they came, and a job whose caller has
left before its turn never starts.
"""

import asyncio
import ctypes
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from proxy.errors import Unavailable

P = ParamSpec("P")
T = TypeVar("T")

_TRIM_ABOVE = 8 << 20
_TIDY_AFTER_S = 1.0


class Workshop:
    """`threads` at work, `budget` bytes among them, at most `queue` jobs waiting or running."""

    def __init__(self, name: str, *, threads: int, budget: int, queue: int = 1_024) -> None:
        self.name, self.budget, self.queue = name, budget, queue
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._free = budget
        self._jobs = 0
        self._turn = threading.Lock()  # the next job waits for its bytes alone, so that none is overtaken for ever
        self._room = threading.Condition()
        self._untidy = False

    async def run(self, cost: int, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `job` in a thread once `cost` bytes are free. Unavailable when the queue is full."""
        if self._jobs >= self.queue:
            raise Unavailable(f"The {self.name} queue is full ({self.queue} jobs).", retry_after_s=1.0)
        with self._room:
            self._jobs += 1
        left = threading.Event()
        future = self._pool.submit(self._hold, min(cost, self.budget), left, partial(job, *args, **kwargs))
        future.add_done_callback(lambda _: self._done())
        self._untidy = self._untidy or cost > _TRIM_ABOVE
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            left.set()
            raise
        finally:
            asyncio.get_running_loop().call_later(_TIDY_AFTER_S, self._tidy)
            del future, job, args, kwargs  # an error's traceback holds this frame, and the future holds the error

    def _hold(self, cost: int, left: threading.Event, job: Callable[[], T]) -> T:
        with self._turn, self._room:
            self._room.wait_for(lambda: self._free >= cost)
            self._free -= cost
        try:
            if left.is_set():
                raise asyncio.CancelledError
            return job()
        except BaseException as error:
            _forget(error)
            raise
        finally:
            del job
            if cost > _TRIM_ABOVE:
                _give_back()
            with self._room:
                self._free += cost
                self._room.notify_all()

    def _tidy(self) -> None:
        """Once it is quiet: by then callers have dropped what they uploaded, too."""
        if self._untidy and not self._jobs:
            self._untidy = False
            self._pool.submit(_give_back)

    def _done(self) -> None:
        with self._room:
            self._jobs -= 1


def _forget(error: BaseException | None) -> None:
    """Empty the frames of a failed job: an error on its way to a client must not keep a 100 MB picture alive."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__


def _trimmer() -> Callable[[int], object]:
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):  # not glibc
        return lambda _: None
    trim.argtypes = [ctypes.c_size_t]
    found: Callable[[int], object] = trim
    return found


_trim = _trimmer()


def _give_back() -> None:
    """Hand freed pages to the system: glibc keeps what a thread freed, and a server would look as if it leaked."""
    _trim(0)
