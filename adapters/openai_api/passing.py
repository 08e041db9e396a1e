"""An answer that is passed on as it comes: sound, or events at their boundaries, so that ours can go between them.

It understands no event but the last. Invariant: a stream of events that ends without it did not end well.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from adapters._http import HttpResponse, TransportError
from adapters.faults import transport_fault
from proxy.call import Ending, Usage
from proxy.errors import Fault, UpstreamError
from proxy.stream import EventTooLarge, Splitter
from proxy.stream import events as events_in

Counted = Callable[[dict[str, Any]], Usage | None]


class Bytes:
    """A Source over an open response. `events` is the mark of the last event, b"" where the body is no stream of events;
    `counted` tells the usage out of that event."""

    __slots__ = ("_counted", "_finished", "_mark", "_response", "_splitter", "_upstream", "_whole", "ending", "usage")

    def __init__(
        self,
        response: HttpResponse,
        usage: Usage | None,
        upstream: str,
        *,
        events: bytes = b"",
        counted: Counted | None = None,
    ) -> None:
        self._counted = counted
        self._response = response
        self._splitter = Splitter() if events else None
        self._mark = events
        self._finished = not events
        self._upstream = upstream
        self._whole = not events and "content-encoding" not in response.headers  # what was read is all that has come
        self.usage: Usage | None = usage
        self.ending: Ending | None = None

    async def read(self) -> bytes:
        """Raises UpstreamError when the body ends before its end."""
        while self.ending is None:
            try:
                data = await self._response.chunk()
            except TransportError as error:
                raise transport_fault(error, self._upstream) from None
            over = not data or (self._whole and self._response.complete)
            out = data if self._splitter is None else self._split(self._splitter, data)
            if over:
                if not self._finished:
                    text = f"The upstream {self._upstream!r} ended its stream before its last event."
                    raise UpstreamError(Fault.CUT, text, accepted=True)
                self.ending = Ending.FINISHED
            if out or over:
                return out
        return b""

    def _split(self, splitter: Splitter, data: bytes) -> bytes:
        try:
            out = splitter.feed(data) if data else splitter.rest()
        except EventTooLarge:
            text = f"The upstream {self._upstream!r} sent an event that does not end."
            raise UpstreamError(Fault.MALFORMED, text, accepted=True) from None
        if self._mark in out:
            self._finished = True
            if self._counted is not None:
                self._count(self._counted, out)
        elif b'"error"' in out:  # it is passed on, and is an end too
            self._finished = True
        return out

    def _count(self, counted: Counted, block: bytes) -> None:
        for event in events_in(block):
            if event.data is None or self._mark not in event.data:
                continue
            try:
                told = msgspec.json.decode(event.data)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue
            if isinstance(told, dict):
                self.usage = counted(told)

    def close(self) -> None:
        self._response.close()
