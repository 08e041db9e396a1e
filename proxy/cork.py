"""Small writes of one turn of the event loop, made one behind the other at its end. It knows callables, no sockets.

Each write to a socket whose reader sleeps wakes it, which on one machine costs more than the copying. Where several answers
and requests are ready in the same turn, all but the first find their reader awake; and the interpreter does one thing at a time.
A write that is alone waits for nothing but the loop's next look at its queue, some microseconds.
"""

import asyncio
from collections.abc import Callable
from weakref import WeakKeyDictionary

_corks: "WeakKeyDictionary[asyncio.AbstractEventLoop, Cork]" = WeakKeyDictionary()


class Cork:
    """One per event loop; see `cork_of`."""

    __slots__ = ("_call_soon", "_report", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._call_soon = loop.call_soon
        self._report = loop.call_exception_handler
        self._waiting: list[Callable[[], None]] = []

    def add(self, write: Callable[[], None]) -> None:
        """Call `write` when this turn of the loop has done what it had to do, in the order of the calls to `add`."""
        if not self._waiting:
            self._call_soon(self._pull)
        self._waiting.append(write)

    def _pull(self) -> None:
        waiting, self._waiting = self._waiting, []
        for write in waiting:
            try:
                write()
            except Exception as error:  # noqa: BLE001 - one connection's trouble is not the next one's
                self._report({"message": "a write failed", "exception": error})


def cork_of(loop: asyncio.AbstractEventLoop) -> Cork:
    """The loop's own."""
    cork = _corks.get(loop)
    if cork is None:
        cork = _corks[loop] = Cork(loop)
    return cork
