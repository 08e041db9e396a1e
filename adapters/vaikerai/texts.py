"""The text of a prediction as its output grows: read by polling, or out of its event stream.

It owns which of the two is drawn from, and the change from one to the other; it refuses to know chats. Invariants: what the
API shows of the output is the truth, events only bring it earlier; a stream that breaks, skips or falls silent is left
for polling, which goes on behind what was already given. (Whether such a stream can be resumed is not documented, so
none is: `Last-Event-ID` is not sent.)
"""

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from adapters._http import HttpResponse, TransportError
from adapters.job_pace import Look, Manner, Phase
from adapters.jobs import Job
from adapters.text_filters import Cumulative
from adapters.vaikerai.answers import ended_badly
from proxy.call import Usage
from proxy.errors import TraghettoError
from proxy.stream import EventTooLarge, Splitter

COUNTS_S = 5.0  # how long the end of a text that is complete waits for its counts
_NUMBERED = re.compile(r"(.*):(\d{1,9})")

Opening = Callable[[], Awaitable[HttpResponse | None]]


class PredictionTexts:
    """By polling."""

    def __init__(self, job: Job, upstream: str) -> None:
        self._job = job
        self._upstream = upstream
        self._look: Look | None = None
        self.grown = Cumulative()
        self._over = False
        self.usage: Usage | None = None
        self.full: bool | None = None

    async def read(self) -> str:
        while not self._over:
            self._look = look = await self._job.next(self._look)
            if look.over:
                return self._finish(look)
            if look.text and (new := self.grown.feed(look.text)):
                return new
        return ""

    def _finish(self, look: Look) -> str:
        body = look.body or {}
        if look.phase is not Phase.DONE or look.text is None or self.grown.diverges(look.text):
            raise ended_badly(look, self._upstream)
        self._over = True
        metrics = body.get("metrics")
        counts = metrics if isinstance(metrics, dict) else {}
        prompt, made = counts.get("input_token_count"), counts.get("output_token_count")
        if isinstance(prompt, int) and isinstance(made, int):
            self.usage = Usage(prompt, made)
        return self.grown.feed(look.text)

    def note(self) -> str:
        return self._job.latest.note if self._job.latest else "submitted"

    def close(self) -> None:
        self._job.leave()


class Told(NamedTuple):
    """One event. `number` counts the stream's events, where their ids do."""

    name: str
    data: str
    number: int | None


class EventReader:
    """Bytes → events. Sans-IO. Raises EventTooLarge."""

    def __init__(self) -> None:
        self._splitter = Splitter()

    def feed(self, data: bytes) -> list[Told]:
        return [_told(block) for block in self._splitter.feed(data).split(b"\n\n") if block]


def _told(block: bytes) -> Told:
    name, number = "", None
    data: list[str] = []
    for line in block.decode("utf-8", "replace").split("\n"):
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "data":
            data.append(value)
        elif field == "id" and (found := _NUMBERED.fullmatch(value)):
            number = int(found[2])
    return Told(name, "\n".join(data), number)


class EventTexts:
    """Out of events while they come, by polling behind them. `opening` gives the stream, or None where there is none."""

    def __init__(self, job: Job, upstream: str, opening: Opening) -> None:
        self._job = job
        self._polled = PredictionTexts(job, upstream)
        self._opening: Opening | None = opening
        self._response: HttpResponse | None = None
        self._events = EventReader()
        self._last = -1
        self._complete = False
        self._watch: asyncio.Task[None] | None = None

    @property
    def usage(self) -> Usage | None:
        return self._polled.usage

    @property
    def full(self) -> bool | None:
        return self._polled.full

    def note(self) -> str:
        return self._polled.note()

    async def read(self) -> str:
        if self._opening is not None:
            opening, self._opening = self._opening, None
            self._response = await opening()
            if self._response is not None:
                self._job.follow(Manner.HINTED)
                self._watch = asyncio.get_running_loop().create_task(self._until_over())
        while self._response is not None:
            if text := await self._told(self._response):
                self._polled.grown.sent += text
                return text
        if not self._complete:
            return await self._polled.read()
        try:
            async with asyncio.timeout(COUNTS_S):
                return await self._polled.read()
        except TimeoutError:
            return ""  # all was said; what it counted is estimated

    async def _told(self, response: HttpResponse) -> str:
        """The text of the next events; the stream is left when they end, whichever way."""
        out: list[str] = []
        try:
            data = await response.chunk()
            for event in self._events.feed(data):
                if not self._in_turn(event):
                    continue
                if event.name == "output":
                    out.append(event.data)
                elif event.name == "done":
                    self._complete = event.data.strip() in ("", "{}")
                    data = b""
                    break
                elif event.name == "error":
                    data = b""
                    break
        except (TransportError, EventTooLarge, _Skipped):
            data = b""
        if not data:
            self._leave(Manner.STEADY if self._complete else Manner.LIVE)
        return "".join(out)

    def _in_turn(self, event: Told) -> bool:
        """False for one that came already. Raises _Skipped where one is missing before it."""
        if event.number is None:
            return True
        if event.number <= self._last:
            return False
        if event.number != self._last + 1:
            raise _Skipped
        self._last = event.number
        return True

    async def _until_over(self) -> None:
        """A job that is over, or cannot be read, ends its stream, whatever the stream says."""
        with contextlib.suppress(TraghettoError):
            await self._job.result()
        if self._response is not None:
            self._response.close()

    def _leave(self, manner: Manner) -> None:
        self._stop()
        self._job.hint(manner)

    def _stop(self) -> None:
        self._opening = None
        response, self._response = self._response, None
        if response is not None:
            response.close()
        if self._watch is not None:
            self._watch.cancel()

    def close(self) -> None:
        self._stop()
        self._polled.close()


class _Skipped(Exception):
    """An event of the stream is missing."""
