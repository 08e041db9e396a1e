"""Answers and the ways in which an answer can go wrong, as values that a test queues over the side channel.

It owns the vocabulary of faults and how an answer is framed; it knows neither sockets nor vendors. A fault that is not
`accepted` strikes before the upstream did anything; an accepted one lets the job exist first, so that a test can tell
"failed" from "outcome unknown".
"""

import json
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

Mangler = Callable[[AsyncGenerator[bytes, None]], AsyncGenerator[bytes, None]]


@dataclass(slots=True)
class Answer:
    """One response. With `chunks` the body is chunked (or ends with the connection when `bare`), else it has a length."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    chunks: AsyncGenerator[bytes, None] | None = None
    bare: bool = False

    @property
    def closes(self) -> bool:
        return self.bare or self.headers.get("connection") == "close"

    def head(self) -> tuple[bytes, bool]:
        """The status line with the header block, and whether the body is chunked."""
        try:
            phrase = HTTPStatus(self.status).phrase
        except ValueError:
            phrase = "Unknown"
        lines = [f"HTTP/1.1 {self.status} {phrase}"] + [f"{k}: {v}" for k, v in self.headers.items()]
        framed = self.chunks is not None and not self.bare
        if framed:
            lines.append("transfer-encoding: chunked")
        elif self.bare:
            lines.append("connection: close")
        elif self.status != HTTPStatus.NO_CONTENT:
            lines.append(f"content-length: {len(self.body)}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"), framed

    async def stream(self) -> AsyncGenerator[bytes, None]:
        if self.chunks is None:
            yield self.body
            return
        async for chunk in self.chunks:
            yield chunk


def as_json(status: int, value: Any, content_type: str = "application/json", **headers: str) -> Answer:
    """An answer with a JSON body; header names are given with underscores."""
    named = {k.replace("_", "-"): v for k, v in headers.items()}
    return Answer(
        status,
        json.dumps(value, ensure_ascii=False).encode(),
        {"content-type": content_type} | named,
    )


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one request. `ending` without `after` breaks before the headers, with it after that many bytes."""

    name: str
    accepted: bool = False
    delay: float = 0.0
    hangs: bool = False
    ending: str = ""
    after: int | None = None
    make: Callable[[Any, Any], Answer] | None = None
    cut: Callable[[bytes], list[bytes]] | None = None
    mangle: Mangler | None = None
    pause: float = 0.001

    @property
    def replaces(self) -> bool:
        """The real answer is not needed (but `accepted` runs the handler all the same)."""
        return self.hangs or self.make is not None or (bool(self.ending) and self.after is None)

    def pieces(self, data: bytes) -> list[bytes]:
        return self.cut(data) if self.cut else [data]

    def pass_events(self, events: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        return self.mangle(events) if self.mangle else events


def hang(*, accepted: bool = False) -> Fault:
    """The request is read and never answered."""
    return Fault("hang", accepted=accepted, hangs=True)


def reset(*, accepted: bool = False) -> Fault:
    """RST instead of an answer."""
    return Fault("reset", accepted=accepted, ending="reset")


def hang_up(*, accepted: bool = False) -> Fault:
    """The connection is closed cleanly, without an answer."""
    return Fault("hang_up", accepted=accepted, ending="close")


def cut(after: int, *, end: str = "close") -> Fault:
    """The body breaks after that many bytes: `close` is a truncated body, `reset` a reset."""
    return Fault("cut", accepted=True, ending=end, after=after)


def late(seconds: float) -> Fault:
    """The right answer, too late."""
    return Fault("late", accepted=True, delay=seconds)


def dribble(size: int = 1, *, pause: float = 0.0005) -> Fault:
    """The right answer in writes of `size` bytes."""
    return Fault(
        "dribble",
        accepted=True,
        cut=lambda d: [d[i : i + size] for i in range(0, len(d), size)],
        pause=pause,
    )


def shred() -> Fault:
    """The right answer, split inside each multi-byte character and between each CR and LF."""
    return Fault("shred", accepted=True, cut=lambda data: list(_splinters(data)))


def _splinters(data: bytes) -> Iterator[bytes]:
    start = 0
    for i in range(1, len(data)):
        inside_character = data[i] & 0xC0 == 0x80
        if inside_character or (data[i - 1] == 13 and data[i] == 10):
            yield data[start:i]
            start = i
    yield data[start:]


def answer(
    status: int,
    value: Any,
    headers: Mapping[str, str] | None = None,
    *,
    accepted: bool = False,
) -> Fault:
    """Another answer than the right one: bytes as they are, anything else as JSON."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    fields = {"content-type": "application/json"} | dict(headers or {})
    return Fault(
        f"answer_{status}",
        accepted=accepted,
        make=lambda _d, _s: Answer(status, raw, dict(fields)),
    )


def garbage_json(*, accepted: bool = True) -> Fault:
    """200, JSON by its header, and no JSON."""
    return answer(200, b'{"id": "x", "output": [', accepted=accepted)


def html_502(*, accepted: bool = False) -> Fault:
    """The page of a gateway in front."""
    page = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
    return answer(502, page, {"content-type": "text/html"}, accepted=accepted)


def empty_200(*, accepted: bool = True) -> Fault:
    """200 and nothing."""
    return answer(200, b"", accepted=accepted)


def redirect(to: str, status: int = 302) -> Fault:
    """A redirect, for instance to a private address."""
    return answer(status, b"", {"location": to})


def oversized(size: int, content_type: str = "image/png") -> Fault:
    """A body of `size` bytes without a length beforehand."""

    async def flood() -> AsyncGenerator[bytes, None]:
        for left in range(size, 0, -65536):
            yield b"\0" * min(left, 65536)

    fields = {"content-type": content_type}
    return Fault("oversized", make=lambda _d, _s: Answer(200, b"", dict(fields), flood()))


def throttled(retry_after: float | None = None) -> Fault:
    """The 429 of the kind, with or without `Retry-After`."""
    return Fault("throttled", make=lambda double, seen: double.throttled(seen, retry_after))


def duplicated(index: int) -> Fault:
    """Event number `index` of a stream arrives twice."""

    async def mangle(events: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        n = 0
        async for event in events:
            yield event
            if n == index:
                yield event
            n += 1

    return Fault("duplicated", accepted=True, mangle=mangle)


def swapped(index: int) -> Fault:
    """Event number `index` of a stream arrives after its successor."""

    async def mangle(events: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        held: bytes | None = None
        n = 0
        async for event in events:
            if n == index:
                held = event
            else:
                yield event
                if held is not None:
                    yield held
                    held = None
            n += 1
        if held is not None:
            yield held

    return Fault("swapped", accepted=True, mangle=mangle)


def without_last(count: int = 1) -> Fault:
    """The stream ends cleanly, but its last events are missing (no `[DONE]`, no `done`)."""

    async def mangle(events: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        tail: list[bytes] = []
        async for event in events:
            tail.append(event)
            if len(tail) > count:
                yield tail.pop(0)

    return Fault("without_last", accepted=True, mangle=mangle)


def inserted(index: int, data: bytes) -> Fault:
    """`data` arrives before event number `index` (a comment, an error event, a half-known field)."""

    async def mangle(events: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        n = 0
        async for event in events:
            if n == index:
                yield data
            yield event
            n += 1

    return Fault("inserted", accepted=True, mangle=mangle)


def paused(index: int, seconds: float) -> Fault:
    """The stream stands still for a while before event number `index`."""

    async def mangle(events: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        import asyncio

        n = 0
        async for event in events:
            if n == index:
                await asyncio.sleep(seconds)
            yield event
            n += 1

    return Fault("paused", accepted=True, mangle=mangle)
