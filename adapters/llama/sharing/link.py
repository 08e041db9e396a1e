"""A worker's connection to the host of its models; it starts the host when there is none.

Owns connecting, starting, the heart-beat and the ids of calls. Refuses to know what frames mean. Invariants: of several
processes that find no host one starts it; when the connection ends, every call on it is told once; a host that does not
answer is killed, since its workers would wait for ever.
"""

import asyncio
import contextlib
import fcntl
import itertools
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Protocol, cast

from adapters.llama import faults
from adapters.llama.client import child_environment
from adapters.llama.frames import FrameError, FrameSplitter, encode
from adapters.llama.sharing import wire
from proxy.errors import UpstreamError

START_S = 20.0  # for a host to come
BEAT_S = 1.0
SILENCE_S = 10.0


class Started(subprocess.Popen[bytes]):
    """A host that we started. It is everybody's, and may outlive us: that is no leak."""

    def __del__(self) -> None:
        """Without the warning."""


_CHILDREN: list[Started] = []


class Listener(Protocol):
    """Whoever waits for frames of one id."""

    def on_frame(self, frame: wire.ToWorker) -> None: ...

    def on_lost(self, error: UpstreamError) -> None: ...


class Link(asyncio.Protocol):
    """`await up()` before `send`; `calls` get what comes for their ids."""

    def __init__(self, path: str, on_up: Callable[[], None]) -> None:
        self.path = path
        self.ids = itertools.count(1)
        self.calls: dict[int, Listener] = {}
        self.on_changed: Callable[[wire.Changed], None] = lambda _frame: None
        self.pid = 0
        self._on_up = on_up
        self._splitter = FrameSplitter(wire.worker_decoder)
        self._transport: asyncio.Transport | None = None
        self._opening: asyncio.Task[None] | None = None
        self._beating: asyncio.Task[None] | None = None
        self._heard = 0.0
        self._answers = asyncio.Event()
        self._lost = asyncio.Event()
        self._closed = False

    @property
    def connected(self) -> bool:
        return self._answers.is_set()

    async def up(self) -> None:
        """Connected. Raises UpstreamError."""
        if self._closed:
            raise faults.gone("the local engine is closed")
        if self.connected:
            return
        if self._opening is None:
            self._opening = asyncio.get_running_loop().create_task(self._open())
            self._opening.add_done_callback(self._opened)
        await asyncio.shield(self._opening)

    def _opened(self, task: asyncio.Task[None]) -> None:
        self._opening = None
        if not task.cancelled():
            task.exception()  # those who wait for it have it too

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + START_S
        while loop.time() < deadline:
            if await self._connect():
                return
            with _turn(self.path + ".lock") as ours:
                if ours:
                    if await self._connect():  # somebody started one while we waited for our turn
                        return
                    await asyncio.to_thread(_started, self.path)
                    continue
            await asyncio.sleep(0.02)
        raise faults.gone("the process of the local engine could not be started")

    async def _connect(self) -> bool:
        """Whether somebody answers there: a process that is dying still takes connections, one that is stopped too."""
        loop = asyncio.get_running_loop()
        try:
            await loop.create_unix_connection(lambda: self, self.path)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        self._beating = loop.create_task(self._beat())
        answers, lost = loop.create_task(self._answers.wait()), loop.create_task(self._lost.wait())
        await asyncio.wait({answers, lost}, return_when=asyncio.FIRST_COMPLETED)
        answers.cancel()
        lost.cancel()
        return self.connected

    def send(self, frame: wire.ToHost) -> None:
        """While there is no connection it is lost, as the call was: `on_lost` has told."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(encode(frame))

    async def aclose(self) -> None:
        self._closed = True
        if self._opening is not None:
            self._opening.cancel()
        if self._transport is not None:
            self._transport.close()
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.gather(self._beating, return_exceptions=True)

    # -- asyncio.Protocol -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._splitter = FrameSplitter(wire.worker_decoder)
        self._heard = time.monotonic()
        self.pid = _peer(transport)
        self._lost.clear()

    def data_received(self, data: bytes) -> None:
        self._heard = time.monotonic()
        try:
            for frame in self._splitter.feed(data):
                if isinstance(frame, wire.Changed):
                    self.on_changed(frame)
                elif isinstance(frame, wire.Pong):
                    self._answered(frame.pid)
                elif (listener := self.calls.get(frame.id)) is not None:
                    listener.on_frame(frame)
        except FrameError:
            assert self._transport is not None
            self._transport.abort()

    def _answered(self, pid: int) -> None:
        self.pid = pid
        if not self._answers.is_set():
            self._answers.set()
            self._on_up()

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None
        self._answers.clear()
        self._lost.set()
        if self._beating is not None:
            self._beating.cancel()
        self.on_changed(wire.Changed([], []))
        calls, self.calls = list(self.calls.values()), {}
        for listener in calls:
            listener.on_lost(faults.gone("the process of the local engine has ended"))

    async def _beat(self) -> None:
        while True:
            self.send(wire.Ping())
            asked = time.monotonic()
            await asyncio.sleep(BEAT_S)
            if time.monotonic() - asked > BEAT_S + 1.0:
                self._heard = time.monotonic()  # it was us who did not run
            if time.monotonic() - self._heard > SILENCE_S and self._transport is not None:
                if self.pid:
                    with contextlib.suppress(OSError):
                        os.kill(self.pid, signal.SIGKILL)
                self._transport.abort()
                return


def _peer(transport: asyncio.BaseTransport) -> int:
    """The pid of who listens, where the system tells; 0 elsewhere: then it tells itself."""
    sock = transport.get_extra_info("socket")
    if sock is None or not hasattr(socket, "SO_PEERCRED"):
        return 0
    pid: int = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
    return pid


@contextlib.contextmanager
def _turn(path: str) -> Iterator[bool]:
    """Whether it is our turn to start the host."""
    with open(path, "a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True


def _started(path: str) -> None:
    """A host that listens; or none, if it ended at once. In a thread, with the lock in hand."""
    _CHILDREN[:] = [child for child in _CHILDREN if child.poll() is None]
    child = Started(
        [sys.executable, "-P", "-m", "adapters.llama.sharing.host", "--socket", path],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=child_environment(),
        start_new_session=True,
    )
    assert child.stdout is not None
    with child.stdout as told:
        told.readline()  # it says that it is ready, or ends
    _CHILDREN.append(child)
