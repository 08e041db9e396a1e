"""The one sender: pumps a Reply into an Outlet, and closes the Reply always.

Headers are not committed until the first frame is here. A stream that fails later gets an error event and no `[DONE]`.
Silence in a stream is filled with comments. Bodies that are not streamed are packed for clients that ask for it.
"""

import asyncio
import functools
import zlib
from typing import Any

import brotli

from proxy import stream
from proxy.call import Call, Dialect
from proxy.errors import TraghettoError
from proxy.ports import Reply
from routes._outlet import Header, Way

PACK_FROM = 1024  # bytes; smaller bodies do not get smaller
_EVENT_STREAM = "text/event-stream"
_LOOKS = 4  # of a KeepAlive, in the silence after which it speaks


class KeepAlive:
    """A comment after `after_s` seconds of silence, or up to a quarter less: what is written is counted, not timed.

    Frames are whole, so a comment between two is at a boundary.
    """

    __slots__ = ("_handle", "_outlet", "_quiet", "_step_s", "_task", "_written")

    def __init__(self, outlet: Way, after_s: float) -> None:
        self._outlet = outlet
        self._step_s = after_s / _LOOKS
        self._written = outlet.written
        self._quiet = 0  # looks in a row that found nothing new
        self._task: asyncio.Task[None] | None = None
        self._handle = asyncio.get_running_loop().call_later(self._step_s, self._look)

    def _look(self) -> None:
        written = self._outlet.written
        self._quiet = self._quiet + 1 if written == self._written else 0
        self._written = written
        if self._quiet >= _LOOKS - 1 and (self._task is None or self._task.done()):
            self._quiet = 0
            self._task = asyncio.get_running_loop().create_task(self._comment())
        self._handle = asyncio.get_running_loop().call_later(self._step_s, self._look)

    async def _comment(self) -> None:
        await self._outlet.put(stream.KEEPALIVE)

    def stop(self) -> None:
        """No comment begins after this."""
        self._handle.cancel()
        if self._task is not None:
            self._task.cancel()


async def send_reply(call: Call, reply: Reply, outlet: Way, accepts: str | None, keepalive_s: float) -> None:
    """Pump a reply; it is closed when this returns or raises.

    Raises:
        TraghettoError: only while nothing has been sent, so that the caller still gets a status.
    """
    try:
        frame = await reply.next()
        headers = call_headers(call)
        headers.append((b"content-type", reply.content_type.encode()))
        if reply.headers:
            headers += [(name.encode(), header_value(value)) for name, value in reply.headers]
        if reply.content_type.startswith(_EVENT_STREAM):
            headers += _STREAM_HEADERS
        elif reply.ending is not None:
            if accepts and len(frame) >= PACK_FROM and reply.content_type.startswith(_PACKABLE):
                frame = await _packed_for(accepts, frame, headers)
            await outlet.whole(reply.status, headers, frame, call.told)
            return
        await outlet.begin(reply.status, headers, call.told)
        await _pump(reply, frame, outlet, keepalive_s)
    finally:
        reply.close()


_STREAM_HEADERS: list[Header] = [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
_PACKABLE = ("application/json", "text/")  # sound and pictures are packed already


async def _packed_for(accepts: str, body: bytes, headers: list[Header]) -> bytes:
    body, encoding = await packed(body, accepts)
    if encoding:
        headers += [(b"content-encoding", encoding), (b"vary", b"accept-encoding")]
    return body


async def _pump(reply: Reply, frame: bytes, outlet: Way, keepalive_s: float) -> None:
    events = reply.content_type.startswith(_EVENT_STREAM)
    silence = KeepAlive(outlet, keepalive_s) if events and reply.ending is None else None
    flow = getattr(reply, "flow", None)
    try:
        while frame and reply.ending is None:
            await outlet.put(frame)
            try:
                frame = await (flow(outlet.offer, outlet.lane()) if flow is not None else reply.next())
            except TraghettoError as error:
                if not events:
                    raise Broken from error  # a binary body cannot say it: the connection must
                frame = stream.error_frame(error)
                break
        if silence is not None:
            silence.stop()
        await outlet.end(frame)
    finally:
        if silence is not None:
            silence.stop()


class Broken(Exception):
    """A body that is no event stream failed half-way: only breaking the connection tells the truth."""


async def packed(body: bytes, accepts: str) -> tuple[bytes, bytes]:
    """The body as the client likes it best, and the encoding's name (b"" for as it was). Large ones in a thread."""
    encoding = preferred(accepts)
    if not encoding:
        return body, b""
    pack = _brotli if encoding == b"br" else _gzip
    if len(body) > 256 << 10:
        return await asyncio.to_thread(pack, body), encoding
    return pack(body), encoding


def preferred(accepts: str) -> bytes:
    """An Accept-Encoding header → br, gzip or b"". Equal preference goes to br."""
    best, name = 0.0, b""
    for part in accepts.lower().split(","):
        token, _, parameters = part.partition(";")
        token = token.strip()
        quality = _quality(parameters)
        if token in ("br", "gzip", "*") and (quality > best or (quality == best and token == "br")):
            best, name = quality, b"br" if token == "br" else b"gzip"
    return name if best > 0 else b""


def _quality(parameters: str) -> float:
    key, _, value = parameters.strip().partition("=")
    if key.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0


def _gzip(body: bytes) -> bytes:
    return zlib.compress(body, 5, 31)


def _brotli(body: bytes) -> bytes:
    return bytes(brotli.compress(body, quality=4))


def call_headers(call: Call) -> list[Header]:
    """What every answer to a call says about it: its id, the route it took, what was dropped."""
    headers: list[Header] = [(b"x-request-id", call.id.encode())]
    if call.attempts and call.plan is not None:
        last = call.attempts[-1]
        headers.append(
            (b"x-traghetto-route", _route(last.target.upstream, last.target.model, len(call.attempts), last.reason))
        )
        if call.dialect is Dialect.VENICE:
            headers.append((b"x-venice-model-id", header_value(call.plan.model.id)))
    if call.dropped:
        headers.append((b"x-traghetto-dropped", header_value(", ".join(call.dropped))))
    return headers


@functools.lru_cache(1024)
def _route(upstream: str, model: str, attempt: int, reason: str) -> bytes:
    return header_value(f"{upstream}/{model}; attempt={attempt}; reason={reason}")


def as_headers(pairs: list[tuple[str, Any]]) -> list[Header]:
    return [(name.encode(), header_value(str(value))) for name, value in pairs]


def header_value(text: str) -> bytes:
    """A text as a header may carry it. Names of models and parameters come from callers: a line break must not get through."""
    if not (text.isascii() and text.isprintable()):
        text = "".join(c if c.isprintable() else "?" for c in text)
    return text.encode("latin-1", "replace")
