"""A call to an engine as its consumer holds it.

Owns the buffer between the engine's steps and one consumer. Refuses to know processes. Invariants: `next` gives every
delta once and in order, then None; so does `flow`, which hands them on in the moment they come; an error comes after what
was delivered before it; `cancel` is synchronous, and afterwards nothing more arrives; `usage` is there once `ended` is.
"""

import asyncio
from collections.abc import Callable

from adapters.llama.frames import Reply
from adapters.llama.spec import Delta, Embed, Generate, Usage
from proxy.errors import UpstreamError

Sink = Callable[[list[Delta]], bool]


class Generation:
    """`async for`-like: `while (deltas := await generation.next()) is not None`."""

    __slots__ = (
        "_cancel",
        "_deltas",
        "_sink",
        "_waiter",
        "admitted",
        "delivered",
        "ended",
        "error",
        "id",
        "replays",
        "request",
        "usage",
    )

    def __init__(self, call_id: int, request: Generate, cancel: Callable[["Generation"], None]) -> None:
        self.id = call_id
        self.request = request
        self.replays = 0
        self.admitted = False  # it has left the queue
        self.delivered = False  # the consumer has had something: it cannot be begun again unseen
        self.ended = False
        self.error: UpstreamError | None = None
        self.usage: Usage | None = None
        self._cancel = cancel
        self._deltas: list[Delta] = []
        self._sink: Sink | None = None
        self._waiter: asyncio.Future[None] | None = None

    async def next(self) -> list[Delta] | None:
        """What came since the last time, at least one delta; None at the end. Raises UpstreamError."""
        while True:
            if self._deltas:
                return self._handed()
            if self.error is not None:
                raise self.error
            if self.ended:
                return None
            await self._woken()

    async def flow(self, sink: "Sink") -> None:
        """# fast path: what comes goes to `sink`, with no task woken for it, until it returns False or the end is there.

        `sink` takes all that it is given in any case, and must not raise. Raises UpstreamError.
        """
        while not self._deltas or sink(self._handed()):
            if self.error is not None:
                raise self.error
            if self.ended:
                return
            self._sink = sink
            try:
                await self._woken()
            finally:
                refused, self._sink = self._sink is None, None
            if refused:
                return

    async def _woken(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _handed(self) -> list[Delta]:
        deltas, self._deltas = self._deltas, []
        self.delivered = True
        return deltas

    def cancel(self) -> None:
        """Frees what the call holds, within one step of the engine. Idempotent; no error after the end."""
        if not self.ended:
            self.ended = True
            self._deltas = []
            self._cancel(self)
            self._wake()

    # -- the supervisor's side ------------------------------------------------------------------------------------

    def feed(self, delta: Delta) -> None:
        if self._sink is not None and not self._deltas:
            self.delivered = True
            if not self._sink([delta]):
                self._sink = None
                self._wake()
            return
        self._deltas.append(delta)
        if self._waiter is not None:
            self._wake()

    def finish(self, usage: Usage) -> None:
        self.usage = usage
        self.ended = True
        self._wake()

    def fail(self, error: UpstreamError) -> None:
        self.error = error
        self.ended = True
        self._wake()

    def begin_again(self) -> None:
        """Nothing was delivered: what is buffered is forgotten."""
        self.replays += 1
        self.admitted = False
        self._deltas = []

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Query:
    """A call with one answer: embeddings, counting, rendering, counters."""

    __slots__ = ("answer", "id", "kind", "replays", "request")

    def __init__(self, call_id: int, kind: str, request: Generate | Embed | None) -> None:
        self.id = call_id
        self.kind = kind
        self.request = request
        self.replays = 0
        self.answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

    def finish(self, reply: Reply) -> None:
        if not self.answer.done():
            self.answer.set_result(reply)

    def fail(self, error: UpstreamError) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)
