"""Workers of one machine ask each other for the call that a retry repeats: the retry may come to another than the call did.

Each listens on a unix socket in a folder that only its user can enter. One question a connection; whoever has the call
answers with its frames as they come. It knows `Retries` and bytes; it decides about no call. A neighbour that does not
answer at once is passed over: the worst that can come of it is a call that is paid twice.
"""

import asyncio
import contextlib
import hashlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from proxy import log
from proxy.errors import Conflict, TraghettoError
from proxy.idempotency import Flight, Pair
from proxy.retries import Retries

PATIENCE_S = 0.25  # with one neighbour, until it says whether it has the call
LARGEST = 64 << 20  # bytes of one message
_log = log.get("neighbours")


class Question(msgspec.Struct, tag=True):
    caller: str
    route: str
    body: bytes
    count: int


class Nothing(msgspec.Struct, tag=True):
    """No such call here."""


class Own(msgspec.Struct, tag=True):
    """It was here, and failed: the retry is a call of its own, and nobody else need be asked."""


class Here(msgspec.Struct, tag=True):
    """It is here; Head, Frames and the End follow."""


class Head(msgspec.Struct, tag=True):
    status: int
    headers: Sequence[Pair]


class Frame(msgspec.Struct, tag=True):
    data: bytes


class End(msgspec.Struct, tag=True):
    """`error` is what it failed with, for the log; "" if it ended well."""

    error: str = ""


Message = Question | Nothing | Own | Here | Head | Frame | End
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Message).decode


def meeting_place(folder: Path) -> Path:
    """The folder of the sockets of those who share `folder`: a short path, since a socket's may have some 100 signs.

    Raises:
        OSError: it cannot be made, or others can enter it.
    """
    uid = os.getuid()
    name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    place = Path(tempfile.gettempdir()) / f"traghetto-{uid}-{name}"
    place.mkdir(mode=0o700, exist_ok=True)
    found = place.lstat()
    if found.st_uid != uid or found.st_mode & 0o077:
        raise PermissionError(f"{place} belongs to somebody else, or others can enter it")
    return place


class Ferry(Flight):
    """A neighbour's call, carried here. Nobody here is its client: when the last who joined leaves, it is let go."""

    gone = True

    def __init__(self) -> None:
        super().__init__("", "")


class Neighbours:
    """Of one worker: `start`, then `find`, `aclose`."""

    def __init__(self, retries: Retries, place: Path) -> None:
        self._retries = retries
        self._place = place
        self._file = place / f"{os.getpid()}-{os.urandom(3).hex()}.sock"
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Raises OSError: there can be no socket."""
        try:
            self._server = await asyncio.start_unix_server(self._asked, str(self._file))
        except FileNotFoundError:  # the last of those before us has just tidied up
            self._place.mkdir(mode=0o700, exist_ok=True)
            self._server = await asyncio.start_unix_server(self._asked, str(self._file))

    async def aclose(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # connections close in the next round of the loop
        _gone(self._file)
        with contextlib.suppress(OSError):
            os.rmdir(self._place)  # the last one out

    # -- asking

    async def find(self, caller: str, route: str, body: bytes, count: int) -> Flight | None:
        """The call of a neighbour that this try repeats, which is then taken. It is to be joined, or left."""
        question = Question(caller, route, body, count)
        for file in await asyncio.to_thread(lambda: sorted(self._place.glob("*.sock"))):
            if file == self._file:
                continue
            said, flight = await self._ask(file, question)
            if flight is not None or isinstance(said, Own):
                return flight
        return None

    async def _ask(self, file: Path, question: Question) -> tuple[Message, Flight | None]:
        writer: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(PATIENCE_S):
                reader, writer = await asyncio.open_unix_connection(str(file))
                _put(writer, question)
                await writer.drain()
                said = await _get(reader)
        except ConnectionRefusedError:
            _gone(file)  # its owner is dead
            return Nothing(), None
        except (OSError, TimeoutError, asyncio.IncompleteReadError, msgspec.DecodeError) as error:
            _log.info("a neighbour did not answer", why=type(error).__name__)
            if writer is not None:
                writer.close()
            return Nothing(), None
        if not isinstance(said, Here):
            writer.close()
            return said, None
        carried, ferry = writer, Ferry()
        task = self._keep(asyncio.get_running_loop().create_task(_carry(ferry, reader)))
        task.add_done_callback(lambda _: carried.close())  # also of one that was ended before it began

        def let_go() -> None:
            task.cancel()

        ferry.alone = let_go
        return said, ferry

    def _keep(self, task: asyncio.Task[None]) -> asyncio.Task[None]:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # -- answering

    async def _asked(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._keep(task)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, msgspec.DecodeError):
            try:
                question = await _get(reader)
                if isinstance(question, Question):
                    await self._answer(question, reader, writer)
            finally:
                writer.close()

    async def _answer(self, question: Question, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        trip = self._retries.find(question.caller, question.route, question.body, question.count)
        if trip is None or trip.error is not None:
            _put(writer, Nothing() if trip is None else Own())
            await writer.drain()
            return
        trip.joined += 1
        loop = asyncio.get_running_loop()
        pumping = loop.create_task(_pump(trip, writer))
        leaving = loop.create_task(reader.read(1))  # it says nothing more: this ends when it goes
        try:
            await asyncio.wait({pumping, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            pumping.cancel()
            leaving.cancel()
            await asyncio.gather(pumping, leaving, return_exceptions=True)
            trip.leave()


async def _pump(flight: Flight, writer: asyncio.StreamWriter) -> None:
    _put(writer, Here())
    try:
        _put(writer, Head(*await flight.started()))
        async for frames in flight.follow():
            _put(writer, Frame(frames))
            await writer.drain()
        _put(writer, End())
    except TraghettoError as error:
        _put(writer, End(error.code))
    await writer.drain()


async def _carry(ferry: Ferry, reader: asyncio.StreamReader) -> None:
    """What the neighbour says, until its end."""
    lost = Conflict("The call that this one repeats was given up.")
    try:
        while not ferry.over:
            said = await _get(reader)
            if isinstance(said, Head):
                ferry.begin(said.status, said.headers)
            elif isinstance(said, Frame):
                ferry.add(said.data)
            elif isinstance(said, End) and not said.error:
                ferry.end()
            else:
                ferry.fail(lost)
    except (OSError, asyncio.IncompleteReadError, msgspec.DecodeError):
        ferry.fail(lost)
    finally:
        ferry.fail(lost)


def _put(writer: asyncio.StreamWriter, message: Message) -> None:
    data = _encode(message)
    writer.write(len(data).to_bytes(4, "big") + data)


async def _get(reader: asyncio.StreamReader) -> Message:
    size = int.from_bytes(await reader.readexactly(4), "big")
    if size > LARGEST:
        raise msgspec.DecodeError("too large")
    message: Message = _decode(await reader.readexactly(size))
    return message


def _gone(file: Path) -> None:
    with contextlib.suppress(OSError):
        file.unlink(missing_ok=True)
