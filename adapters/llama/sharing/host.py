"""The process that has the models of all workers of a server: `python -m adapters.llama.sharing.host --socket PATH`.

Owns one `Life` for each different configuration that workers bring, and what each connection holds and runs. Refuses to know
HTTP and names of models. Invariants: a connection that ends gives back everything it had, at once; a worker that does not read
makes its own calls wait and nobody else's; the process ends soon after its last connection.
"""

import argparse
import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, cast

import msgspec

from adapters.llama.frames import FrameError, FrameSplitter, encode
from adapters.llama.life import Life, life_of
from adapters.llama.resident import Hold, Settings, Status
from adapters.llama.sharing import wire
from proxy.errors import Fault, UpstreamError

LINGER_S = 3.0  # after the last connection, since another worker may be about to come
TELL_S = 0.1
READY = b"ready\n"


class Host:
    """Lives, and who uses them."""

    def __init__(self) -> None:
        self.sessions: set[Session] = set()
        self.over = asyncio.Event()
        self._lives: dict[bytes, Life] = {}
        self._users: dict[bytes, set[Session]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._lingering: asyncio.TimerHandle | None = None
        self._linger_s = LINGER_S

    def life(self, settings: Settings, session: "Session") -> Life:
        key = msgspec.msgpack.encode(settings)
        if key not in self._lives:
            self._lives[key] = life_of(settings)
        self._users.setdefault(key, set()).add(session)
        return self._lives[key]

    def came(self, session: "Session") -> None:
        self.sessions.add(session)
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None

    def went(self, session: "Session") -> None:
        """A configuration that nobody uses any more (after a reload) takes its models with it."""
        self.sessions.discard(session)
        for key, users in list(self._users.items()):
            users.discard(session)
            if not users and self.sessions:
                self._close(key)
        if not self.sessions:
            self._lingering = asyncio.get_running_loop().call_later(self._linger_s, self.over.set)

    def leave(self) -> None:
        """As soon as the last worker has gone: calls that still run there end first."""
        self._linger_s = 0.0
        if not self.sessions:
            self.over.set()

    def _close(self, key: bytes) -> None:
        del self._users[key]
        task = asyncio.get_running_loop().create_task(self._lives.pop(key).aclose())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def tell(self) -> None:
        """Changes of state to those whom they concern."""
        while True:
            for session in list(self.sessions):
                session.tell()
            await asyncio.sleep(TELL_S)

    async def aclose(self) -> None:
        for session in list(self.sessions):
            session.close()
        await asyncio.gather(*(life.aclose() for life in self._lives.values()), *self._closing)


class Session(asyncio.Protocol):
    """One worker."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._splitter = FrameSplitter(wire.host_decoder)
        self._transport: asyncio.Transport | None = None
        self._life: Life | None = None
        self._told: Any = None
        self._holds: dict[int, Hold] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._room = asyncio.Event()
        self._room.set()
        self._out: list[bytes] = []
        self._works: dict[type, Callable[[Any], Coroutine[Any, Any, None]]] = {
            wire.Gen: self._generate,
            wire.Acquire: self._acquire,
            wire.Embedding: self._embed,
            wire.Load: self._load,
            wire.Unload: self._unload,
        }

    # -- asyncio.Protocol -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._host.came(self)

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._splitter.feed(data):
                self._on_frame(frame)
        except (FrameError, KeyError):
            self.close()

    def connection_lost(self, _error: Exception | None) -> None:
        for task in self._tasks.values():
            task.cancel()
        for hold in self._holds.values():
            hold.release()
        self._holds.clear()
        self._room.set()
        self._host.went(self)

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    # -- frames in ------------------------------------------------------------------------------------------------

    def _on_frame(self, frame: wire.ToHost) -> None:
        work = self._works.get(type(frame))
        if work is not None:
            self._begin(frame.id, work(frame))  # type: ignore[union-attr]
        elif isinstance(frame, wire.Release):
            hold = self._holds.pop(frame.id, None)
            if hold is not None:
                hold.release()
        elif isinstance(frame, wire.Cancel):
            task = self._tasks.pop(frame.id, None)
            if task is not None:
                task.cancel()
        elif isinstance(frame, wire.Ping):
            self._send(wire.Pong(os.getpid()))
        elif isinstance(frame, wire.Hello) and self._life is None:
            self._life = self._host.life(frame.settings, self)

    def _begin(self, call_id: int, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(self._answered(call_id, work))
        self._tasks[call_id] = task
        task.add_done_callback(lambda _: self._tasks.pop(call_id, None))

    async def _answered(self, call_id: int, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except UpstreamError as error:
            self._send(wire.failure(call_id, error))
        except Exception as error:  # noqa: BLE001 - the worker must be told something
            said = UpstreamError(Fault.SERVER, f"the engine's host failed: {type(error).__name__}", accepted=True)
            self._send(wire.failure(call_id, said))

    @property
    def life(self) -> Life:
        """Raises UpstreamError: it has not said whose."""
        if self._life is None:
            raise UpstreamError(Fault.SERVER, "the worker did not greet", accepted=False)
        return self._life

    # -- work -----------------------------------------------------------------------------------------------------

    async def _acquire(self, frame: wire.Acquire) -> None:
        hold = await self.life.acquire(frame.path, partial(self._progress, frame.id))
        info = hold.engine.info
        assert info is not None
        self._holds[frame.id] = hold
        self._send(wire.Acquired(frame.id, info))

    def _progress(self, call_id: int, share: float) -> None:
        self._send(wire.Progress(call_id, share))

    async def _generate(self, frame: wire.Gen) -> None:
        generation = self._holds[frame.hold].engine.submit(frame.request)
        try:
            while (deltas := await generation.next()) is not None:
                self._send(wire.Deltas(frame.id, deltas))
                await self._room.wait()
            assert generation.usage is not None
            self._send(wire.Done(frame.id, generation.usage))
        finally:
            generation.cancel()

    async def _embed(self, frame: wire.Embedding) -> None:
        blob, tokens = await self._holds[frame.hold].engine.embed(frame.request)
        self._send(wire.Vectors(frame.id, blob, tokens))

    async def _load(self, frame: wire.Load) -> None:
        life = self.life
        if frame.wait:
            self._send(wire.Told(frame.id, await life.load(frame.path, parallel=frame.parallel, keep_s=frame.keep_s)))
            return
        await life.begin_load(frame.path, parallel=frame.parallel, keep_s=frame.keep_s)
        await asyncio.sleep(0)
        self._send(wire.Told(frame.id, life.status_of(frame.path)))

    async def _unload(self, frame: wire.Unload) -> None:
        life = self.life
        found = await (life.unload(frame.path) if frame.wait else life.begin_unload(frame.path))
        self._send(wire.Told(frame.id, life.status_of(frame.path), found))

    # -- frames out -----------------------------------------------------------------------------------------------

    def tell(self) -> None:
        if self._life is None:
            return
        residents, others = self._life.status(), self._life.others()
        seen = [_seen(status) for status in (*residents, *others)]
        if seen != self._told:
            self._told = seen
            self._send(wire.Changed(residents, others))

    def _send(self, frame: wire.ToWorker) -> None:
        """What comes in one turn of the loop leaves in one write."""
        if self._transport is None or self._transport.is_closing():
            return
        if not self._out:
            asyncio.get_running_loop().call_soon(self._flush)
        self._out.append(encode(frame))

    def _flush(self) -> None:
        data, self._out = b"".join(self._out), []
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)


def _seen(status: Status) -> tuple[Any, ...]:
    """What of a status is news; how long it has been idle is not."""
    coarse = round(status.measured / (8 << 20)), round(status.progress, 2)
    return (
        status.path,
        status.state,
        status.users,
        status.served,
        status.keep_s,
        status.restarts,
        status.reason,
        *coarse,
    )


async def serve(path: str, ready: Callable[[], None] = lambda: None) -> None:
    """Until nobody has been connected for a while; after SIGTERM, as soon as nobody is."""
    host = Host()
    loop = asyncio.get_running_loop()
    with contextlib.suppress(ValueError, RuntimeError):  # not the main thread
        loop.add_signal_handler(signal.SIGTERM, host.leave)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    server = await loop.create_unix_server(lambda: Session(host), path)
    os.chmod(path, 0o600)
    telling = loop.create_task(host.tell())
    host.went(cast(Session, None))  # nobody is here yet, and may never come
    ready()
    try:
        await host.over.wait()
    finally:
        server.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        telling.cancel()
        await host.aclose()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--socket", type=Path, required=True)
    path = str(parser.parse_args().socket)
    asyncio.run(serve(path, _say_ready))


def _say_ready() -> None:
    os.write(1, READY)


if __name__ == "__main__":
    main()
