"""The two shapes of Reply that most adapters give: one whole body, and a stream of frames over an open response."""

from collections.abc import Callable
from typing import Protocol

from proxy.call import Ending, Usage
from proxy.lane import Lane
from proxy.stream import CONTENT_TYPE


class Whole:
    """An answer in one piece. It holds no socket any more."""

    __slots__ = ("_body", "content_type", "ending", "headers", "status", "usage")

    def __init__(
        self,
        body: bytes,
        usage: Usage | None,
        content_type: str = "application/json",
        headers: list[tuple[str, str]] | None = None,
    ) -> None:
        self._body = body
        self.usage = usage
        self.content_type = content_type
        self.headers = headers or []
        self.status = 200
        self.ending: Ending | None = None

    async def next(self) -> bytes:
        body, self._body = self._body, b""
        self.ending = Ending.FINISHED
        return body

    def close(self) -> None:
        self._body = b""


class Source(Protocol):
    """What a Stream draws from: whole frames, b"" at a good end, UpstreamError at a bad one."""

    @property
    def ending(self) -> Ending | None: ...

    @property
    def usage(self) -> Usage | None: ...

    async def read(self) -> bytes: ...

    def close(self) -> None: ...


class Stream:
    """Frames from a Source. `first` is the frame that `open` waited for."""

    __slots__ = ("_first", "_flow", "_source", "content_type", "headers", "status")

    def __init__(self, source: Source, first: bytes, content_type: str = CONTENT_TYPE) -> None:
        self._source = source
        self._first = first
        self._flow = getattr(source, "flow", None)
        self.content_type = content_type
        self.headers: list[tuple[str, str]] = []
        self.status = 200

    @property
    def ending(self) -> Ending | None:
        return None if self._first else self._source.ending

    @property
    def usage(self) -> Usage | None:
        return self._source.usage

    async def next(self) -> bytes:
        if self._first:
            first, self._first = self._first, b""
            return first
        if self._source.ending is not None:
            return b""
        return await self._source.read()

    async def flow(self, write: Callable[[bytes], bool], lane: Lane | None = None) -> bytes:
        """See `proxy.ports.Flows`; one frame after the other where the source cannot do better."""
        if self._first or self._flow is None or self._source.ending is not None:
            return await self.next()
        frames: bytes = await self._flow(write, lane)
        return frames

    def close(self) -> None:
        self._source.close()
