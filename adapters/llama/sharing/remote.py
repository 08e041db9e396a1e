"""What a worker has in place of `life`: the same questions, asked of the host that all workers share.

Owns the worker's side of each call and the last that was heard of residents. Refuses to know sockets (`link`) and engines.
Invariants: every call ends exactly once, also when the host dies: those that have had nothing may be tried again; what is
cancelled here is cancelled there.
"""

import asyncio
import os
from collections.abc import Callable
from functools import partial

import msgspec

from adapters.llama import faults
from adapters.llama.frames import FrameError
from adapters.llama.generation import Generation
from adapters.llama.resident import Hold, Progress, Settings, Status
from adapters.llama.sharing import wire
from adapters.llama.sharing.link import Link
from adapters.llama.spec import Embed, Generate, ModelInfo
from proxy.errors import UpstreamError

SOCKET = "TRAGHETTO_ENGINE_HOST"  # the path of the host's socket, where workers share one


def shared_socket() -> str:
    return os.environ.get(SOCKET, "")


class RemoteLife:
    """See `Life`, whose place it takes."""

    def __init__(self, path: str, settings: Settings) -> None:
        self._settings = settings
        self._residents: dict[str, Status] = {}
        self._others: dict[str, Status] = {}
        self._link = Link(path, self._greet)
        self._link.on_changed = self._on_changed

    def _greet(self) -> None:
        self._link.send(wire.Hello(self._settings))

    def _on_changed(self, frame: wire.Changed) -> None:
        self._residents = {status.path: status for status in frame.residents}
        self._others = {status.path: status for status in frame.others}

    # -- using ----------------------------------------------------------------------------------------------------

    async def acquire(self, path: str, on_progress: Progress | None = None) -> Hold:
        """Raises UpstreamError. Cancelling it gives everything back."""
        ask = _Ask(self._link, on_progress)
        frame = await ask.answer(lambda id_: wire.Acquire(id_, path))
        assert isinstance(frame, wire.Acquired)
        return Hold(RemoteEngine(self._link, ask.id, frame.info), partial(self._link.send, wire.Release(ask.id)))

    # -- administration -------------------------------------------------------------------------------------------

    async def load(
        self,
        path: str,
        *,
        parallel: int | None = None,
        keep_s: float | None = None,
        on_progress: Progress | None = None,
    ) -> Status:
        ask = _Ask(self._link, on_progress)
        frame = await ask.answer(lambda id_: wire.Load(id_, path, parallel, keep_s, wait=True))
        assert isinstance(frame, wire.Told)
        if frame.status is None:
            raise faults.gone("the model was unloaded at once")
        self._residents[path] = frame.status
        return frame.status

    async def begin_load(self, path: str, *, parallel: int | None = None, keep_s: float | None = None) -> None:
        frame = await _Ask(self._link).answer(lambda id_: wire.Load(id_, path, parallel, keep_s, wait=False))
        self._note(path, frame)

    async def unload(self, path: str) -> bool:
        return await self._unload(path, wait=True)

    async def begin_unload(self, path: str) -> bool:
        return await self._unload(path, wait=False)

    async def _unload(self, path: str, *, wait: bool) -> bool:
        """The host is asked in any case: another worker may have loaded it a moment ago, of which we have not heard."""
        frame = await _Ask(self._link).answer(lambda id_: wire.Unload(id_, path, wait))
        assert isinstance(frame, wire.Told)
        self._note(path, frame)
        return frame.found

    def _note(self, path: str, frame: wire.ToWorker) -> None:
        assert isinstance(frame, wire.Told)
        self._residents.pop(path, None)
        self._others.pop(path, None)
        if frame.status is not None:
            waits = frame.status.state in ("waiting", "failed")
            (self._others if waits else self._residents)[path] = frame.status

    def status(self) -> list[Status]:
        return list(self._residents.values())

    def status_of(self, path: str) -> Status | None:
        return self._residents.get(path) or self._others.get(path)

    async def aclose(self) -> None:
        await self._link.aclose()


class _Ask:
    """A question with one answer."""

    def __init__(self, link: Link, on_progress: Progress | None = None) -> None:
        self.id = next(link.ids)
        self._link = link
        self._on_progress = on_progress
        self._answer: asyncio.Future[wire.ToWorker] = asyncio.get_running_loop().create_future()

    async def answer(self, frame: Callable[[int], wire.ToHost]) -> wire.ToWorker:
        """Raises UpstreamError."""
        await self._link.up()
        self._link.calls[self.id] = self
        self._link.send(frame(self.id))
        try:
            return await self._answer
        except asyncio.CancelledError:
            self._link.send(wire.Cancel(self.id))
            self._link.send(wire.Release(self.id))  # it may have been given meanwhile
            raise
        finally:
            self._link.calls.pop(self.id, None)

    def on_frame(self, frame: wire.ToWorker) -> None:
        if isinstance(frame, wire.Progress):
            if self._on_progress is not None:
                self._on_progress(frame.share)
        elif self._answer.done():
            return
        elif isinstance(frame, wire.Failed):
            self._answer.set_exception(wire.raised(frame))
        else:
            self._answer.set_result(frame)

    def on_lost(self, error: UpstreamError) -> None:
        if not self._answer.done():
            self._answer.set_exception(error)


class RemoteEngine:
    """A loaded model of the host, for as long as it is held."""

    def __init__(self, link: Link, hold: int, info: ModelInfo) -> None:
        self.info: ModelInfo | None = info
        self._link = link
        self._hold = hold

    def submit(self, request: Generate) -> Generation:
        generation = Generation(next(self._link.ids), request, self._forget)
        self._link.calls[generation.id] = _Stream(generation, self._link)
        try:
            self._link.send(wire.Gen(generation.id, self._hold, request))
        except (FrameError, msgspec.MsgspecError, UnicodeEncodeError, TypeError, OverflowError) as error:
            del self._link.calls[generation.id]
            raise faults.unencodable(error) from error
        if not self._link.connected:
            _Stream(generation, self._link).on_lost(faults.gone("the process of the local engine has ended"))
        return generation

    def _forget(self, generation: Generation) -> None:
        if self._link.calls.pop(generation.id, None) is not None:
            self._link.send(wire.Cancel(generation.id))

    async def embed(self, request: Embed) -> tuple[bytes, int]:
        frame = await _Ask(self._link).answer(lambda id_: wire.Embedding(id_, self._hold, request))
        assert isinstance(frame, wire.Vectors)
        return frame.blob, frame.tokens


class _Stream:
    """A generation's frames."""

    __slots__ = ("_generation", "_link")

    def __init__(self, generation: Generation, link: Link) -> None:
        self._generation = generation
        self._link = link

    def on_frame(self, frame: wire.ToWorker) -> None:
        if isinstance(frame, wire.Deltas):
            for delta in frame.deltas:
                self._generation.feed(delta)
            return
        self._link.calls.pop(self._generation.id, None)
        if isinstance(frame, wire.Done):
            self._generation.finish(frame.usage)
        elif isinstance(frame, wire.Failed):
            self._generation.fail(wire.raised(frame))

    def on_lost(self, error: UpstreamError) -> None:
        delivered = self._generation.delivered
        self._generation.fail(faults.crashed(error.message, delivered=True) if delivered else error)
