"""One call, asked twice: who sends an `Idempotency-Key`, or is an SDK that says it tries again, joins the call that it
repeats or gets its answer once more, marked `Idempotent-Replayed: true`. Nothing is paid twice.

It owns the two headers and when a call outlives its client; flights are `proxy.idempotency`'s and `proxy.retries`'. A call
with neither header costs one look through its headers and no more.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from proxy import log, pipeline
from proxy.call import Call, Ending, Usage
from proxy.errors import BadRequest, Conflict, Unavailable
from proxy.idempotency import KEY_MAX, Flight, Idempotency, again, body_hash, named
from proxy.lane import Lane
from proxy.media.payload import Payload
from proxy.ports import Reply
from proxy.retries import Retries, Trip
from routes._inbound import unpacked
from routes._outlet import Header, Outlet, Way, pairs
from routes._send import as_headers, call_headers

if TYPE_CHECKING:
    from proxy.ledger.database import Database
    from proxy.neighbours import Neighbours

KEY, COUNT = b"idempotency-key", b"x-stainless-retry-count"
PATIENCE = (b"x-stainless-read-timeout", b"x-stainless-timeout")  # seconds; of Python, of Node
REPLAYED = ("idempotent-replayed", "true")
# what whoever sends a reply says by itself
ITS_OWN = (b"content-type", b"x-request-id", b"content-encoding", b"vary", b"cache-control", b"x-accel-buffering")
LARGEST = 1 << 30  # bytes of an answer of ours, unpacked
PATIENT = 0.95  # of what a client waits: who leaves after that gave up waiting; who leaves sooner was told to
LOST = 0.08  # of `hold_s`: a client that leaves so soon after the head was sent may never have had it
HASH_HERE = 1 << 20  # bytes; more are hashed in a thread
_log = log.get("replay")


class Asked(msgspec.Struct, frozen=True):
    """What a request says about repeating. `count` is the number of tries before it, None if it does not count, and
    `patience_s` how long it waits for an answer before it gives up and tries again, if it says."""

    key: str | None
    count: int | None
    patience_s: float = math.inf


def asked(headers: Mapping[bytes, bytes]) -> Asked | None:
    """None for most. Raises BadRequest for a key that is not 1 to KEY_MAX printable characters of ASCII."""
    key, count = headers.get(KEY), headers.get(COUNT)
    if key is None and count is None:
        return None
    try:
        text = None if key is None else key.decode("ascii").strip()
    except UnicodeDecodeError:
        raise BadRequest("The Idempotency-Key is not ASCII.", param="Idempotency-Key") from None
    if text is not None and not (0 < len(text) <= KEY_MAX and text.isprintable()):
        raise BadRequest(f"An Idempotency-Key has 1 to {KEY_MAX} printable characters.", param="Idempotency-Key")
    number = int(count) if count is not None and count.isdigit() and len(count) < 4 else None
    if number is None:
        return None if text is None else Asked(text, None)
    return Asked(text, number, _seconds(headers.get(PATIENCE[0]) or headers.get(PATIENCE[1])))


def _seconds(value: bytes | None) -> float:
    try:
        seconds = float(value) if value is not None else math.inf
    except ValueError:
        return math.inf
    return seconds if seconds > 0 else math.inf


class Repeats:
    """Of one worker. `hold_s`: how long a call goes on whose client, an SDK, will come again: it gave up waiting, or left
    right behind the head, which it may not have had. 0: not at all."""

    def __init__(self, hold_s: float = 0.0, told: Callable[[str], None] | None = None) -> None:
        self._told = told  # of every answer that was given again: by a "key", or a "retry"
        self.idempotency = Idempotency()
        self.retries = Retries()
        self.hold_s = hold_s
        self._neighbours: Neighbours | None = None
        self._releasing: set[asyncio.Task[None]] = set()

    async def start(self, database: "Database | None", shared: Path | None = None) -> None:
        """From here on answers under keys are kept in this database, for all workers; without one, in memory. `shared` is
        the folder of a server of several workers, which ask each other for calls that are repeated without a key."""
        if database is not None:
            from proxy.ledger.replayrows import SqlReplays

            self.idempotency = Idempotency(SqlReplays(database))
        if shared is not None:
            from proxy.neighbours import Neighbours, meeting_place

            try:
                self._neighbours = Neighbours(self.retries, meeting_place(shared))
                await self._neighbours.start()
            except OSError as error:
                self._neighbours = None
                _log.warning("workers cannot ask each other for calls that an SDK repeats", why=str(error))

    async def open(
        self, said: Asked, call: Call, house: pipeline.House, outlet: Outlet, route: str
    ) -> tuple[Reply, Way]:
        """As `pipeline.run`; or the reply of the call that this one repeats. And the way out for it."""
        if said.key is not None:
            return await self._keyed(named(call.principal.id, route, said.key), call, house, outlet), outlet
        body = call.raw or (await fingerprint(call)).encode()
        count = said.count or 0
        if count:
            earlier: Flight | None = self.retries.find(call.principal.id, route, body, count)
            if earlier is None and self._neighbours is not None:
                earlier = await self._neighbours.find(call.principal.id, route, body, count)
            if earlier is not None and earlier.error is None:
                return await self._joined(earlier, call, "retry"), outlet
        trip = self.retries.begin(call.principal.id, route, body, count)
        keeping = Keeping(outlet, trip, self.hold_s, said.patience_s)
        trip.alone, outlet.on_gone = keeping.hold, keeping.left
        try:
            return await pipeline.run(call, house), keeping
        except BaseException as error:
            trip.fail(error)
            raise

    async def _keyed(self, name: str, call: Call, house: pipeline.House, outlet: Outlet) -> Reply:
        hashed = await fingerprint(call)
        there = self.idempotency.find(name, hashed)
        if there is not None:
            return await self._joined(there, call, "key")
        flight = self.idempotency.take_off(name, hashed)
        try:
            kept = await self.idempotency.earlier(flight)
            if kept is not None:
                flight.begin(kept.status, as_headers(kept.headers))
                flight.add(kept.body)
                flight.end()
                return await self._joined(flight, call, "key")
            outlet.on_gone = lambda: None  # asked for by name: it is carried through, whoever is there
            reply = await pipeline.run(call, house)
        except BaseException as error:
            flight.fail(error)
            self.release(flight)
            raise
        return Recorded(reply, call, flight, self)

    async def _joined(self, flight: Flight, call: Call, named: str) -> "Joined":
        reply = await joined(flight, call)
        if self._told is not None:
            self._told(named)
        return reply

    async def keep(self, flight: Flight) -> None:
        """The answer is whole: remember it before its last frame leaves."""
        try:
            await self.idempotency.keep(flight)
        except Unavailable as error:
            _log.error("answer_not_kept", why=error.message)

    def release(self, flight: Flight) -> None:
        """There is no answer to remember; nobody waits for that to be written down."""
        task = asyncio.get_running_loop().create_task(self._release(flight))
        self._releasing.add(task)
        task.add_done_callback(self._releasing.discard)

    async def _release(self, flight: Flight) -> None:
        try:
            await self.idempotency.release(flight)
        except Unavailable as error:
            _log.error("claim_not_released", why=error.message)

    async def aclose(self) -> None:
        self.retries.aclose()
        if self._neighbours is not None:
            await self._neighbours.aclose()
        await asyncio.gather(*self._releasing)
        await self.idempotency.aclose()


class Keeping:
    """A Way whose answer a trip keeps as it leaves: for calls without a key, of which nearly none comes again."""

    __slots__ = ("_hold_s", "_outlet", "_trip", "_until")

    def __init__(self, outlet: Outlet, trip: Trip, hold_s: float, patience_s: float) -> None:
        self._outlet = outlet
        self._trip = trip
        self._hold_s = hold_s
        self._until = time.monotonic() + PATIENT * patience_s

    @property
    def written(self) -> int:
        return self._outlet.written

    def left(self) -> None:
        """The client has gone: at once with the call, unless it gave up waiting, or may never have had the head."""
        trip = self._trip
        trip.gone = True
        if trip.joined or trip.over:
            return
        now = time.monotonic()
        if (now - trip.began < LOST * self._hold_s) if trip.status else (now >= self._until):
            self.hold()
        else:
            self._outlet.cancel()

    def hold(self) -> None:
        """Nobody is there. SDKs wait twice as long before each further try; so do we."""
        wait_s = self._hold_s * 2 ** min(max(self._trip.count - 1, 0), 3)
        asyncio.get_running_loop().call_later(wait_s, self._end)

    def _end(self) -> None:
        if not self._trip.joined and not self._trip.over:
            self._outlet.cancel()

    def unwatch(self) -> None:
        """The call is over, well or not."""
        self._outlet.unwatch()
        if not self._trip.over:
            self._trip.fail(Conflict("The call that this one repeats was given up."))

    async def whole(self, status: int, headers: list[Header], body: bytes, lines: bytes = b"") -> None:
        trip = self._trip
        trip.begin(status, [*headers, *pairs(lines)])
        trip.add(body)
        trip.end()
        await self._outlet.whole(status, headers, body, lines)

    async def begin(self, status: int, headers: list[Header], lines: bytes = b"") -> None:
        self._trip.begin(status, [*headers, *pairs(lines)])
        await self._outlet.begin(status, headers, lines)

    async def put(self, data: bytes) -> None:
        self._trip.add(data)
        await self._outlet.put(data)

    def offer(self, data: bytes) -> bool:
        if not self._outlet.offer(data):
            return False
        self._trip.add(data)
        return True

    def lane(self) -> Lane | None:
        """None: every frame is kept."""
        return None

    async def end(self, data: bytes) -> None:
        trip = self._trip
        if data:
            trip.add(data)
        trip.end()
        await self._outlet.end(data)


class Recorded:
    """A Reply whose frames its flight keeps, before they leave."""

    __slots__ = ("_call", "_flight", "_keeper", "_reply", "content_type", "headers", "status")

    def __init__(self, reply: Reply, call: Call, flight: Flight, keeper: Repeats) -> None:
        self._reply = reply
        self._call = call
        self._flight = flight
        self._keeper = keeper
        self.status = reply.status
        self.content_type = reply.content_type
        self.headers = reply.headers

    @property
    def ending(self) -> Ending | None:
        return self._reply.ending

    @property
    def usage(self) -> Usage | None:
        return self._reply.usage

    async def next(self) -> bytes:
        return await self._passed(self._reply.next())

    async def flow(self, write: Callable[[bytes], bool], _lane: Lane | None = None) -> bytes:
        """See `proxy.ports.Flows`. What `write` takes is kept here; what is returned, like a frame of `next`."""
        add = self._flight.add

        def kept(frames: bytes) -> bool:
            if not write(frames):
                return False
            add(frames)
            return True

        flow = getattr(self._reply, "flow", None)
        return await self._passed(self._reply.next() if flow is None else flow(kept))

    async def _passed(self, frames: Awaitable[bytes]) -> bytes:
        reply, flight = self._reply, self._flight
        try:
            frame = await frames
        except BaseException as error:
            self._fail(error)
            raise
        if not flight.status:
            told = as_headers([("content-type", self.content_type), *self.headers])
            flight.begin(self.status, [*told, *call_headers(self._call), *pairs(self._call.told)])
        if frame:
            flight.add(frame)
        if reply.ending is not None or not frame:
            await self._keeper.keep(flight)
            flight.end()
        return frame

    def close(self) -> None:
        self._reply.close()
        self._fail(Conflict("The call that this one repeats was given up."))

    def _fail(self, error: BaseException) -> None:
        if not self._flight.over:
            self._flight.fail(error)
            self._keeper.release(self._flight)


class Joined:
    """A Reply out of a flight, from its first frame; what is there already comes at once."""

    def __init__(self, flight: Flight) -> None:
        given = {name: value.decode("latin-1") for name, value in flight.headers}
        self._flight = flight
        self._at = 0
        self._open = True
        self._packed = given.get(b"content-encoding", "")
        self.status = flight.status
        self.content_type = given.get(b"content-type", "application/json")
        self.id = given.get(b"x-request-id", "")
        self.headers = [(name.decode(), value) for name, value in given.items() if name not in ITS_OWN]
        self.headers.append(REPLAYED)
        self.ending: Ending | None = None
        self.usage: Usage | None = None

    async def next(self) -> bytes:
        flight = self._flight
        while (self._packed or self._at >= len(flight.frames)) and not flight.over:
            await flight.moved()
        frames = flight.frames[self._at :]
        self._at += len(frames)
        if flight.complete:
            self.ending = Ending.FINISHED
        elif flight.error is not None and (self._packed or not frames):
            raise again(flight.error)
        body = b"".join(frames)
        return unpacked(body, self._packed, LARGEST) if self._packed else body

    def close(self) -> None:
        if self._open:
            self._open = False
            self._flight.leave()


async def joined(flight: Flight, call: Call) -> Joined:
    """The reply of a flight, once it has begun; `call` gets the id of the one that it repeats, whose receipt there is.

    Raises:
        TraghettoError: what the call failed with before its first frame.
    """
    flight.joined += 1
    try:
        await flight.started()
    except BaseException:
        flight.leave()
        raise
    reply = Joined(flight)
    call.id = reply.id or call.id
    return reply


async def fingerprint(call: Call) -> str:
    """What the request asks for, as a hash: its body; of a form its fields and files, without the boundary between them."""
    parts: list[bytes | memoryview] = [call.raw] if call.raw else []
    if not parts:
        for name in sorted(call.fields):
            parts += [name.encode(), b"\0", bytes(call.fields[name]), b"\0"]
        parts += [payload.as_sent for payload in _payloads((call.request, call.upload))]
    if sum(map(len, parts)) > HASH_HERE:
        return await asyncio.to_thread(body_hash, *parts)
    return body_hash(*parts)


def _payloads(value: Any) -> Iterable[Payload]:
    if isinstance(value, Payload):
        yield value
    elif isinstance(value, dict):
        yield from _payloads(tuple(value.values()))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _payloads(item)
    elif isinstance(value, msgspec.Struct):
        yield from _payloads(tuple(getattr(value, name) for name in value.__struct_fields__))
