"""The engine process: `python -m adapters.llama.worker --fd N`.

Owns its three threads: the main thread owns every call on a context, the reader takes frames (and answers pings and
cancels at once), the preparer renders and tokenises. Refuses to know the gateway. Invariants: when the socket ends or
the parent dies, the process ends at once; an engine that is broken says so to every call, then exits.
"""

import argparse
import ctypes
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections import deque
from queue import SimpleQueue
from typing import Any

from adapters.llama import frames, spec
from adapters.llama.engine import Loaded, LoadFailed
from adapters.llama.outbox import SHORT_S, Outbox
from adapters.llama.prepare import Refusal
from adapters.llama.prompting import PromptError
from adapters.llama.scheduler import EngineBroken

EXIT_LOAD, EXIT_BROKEN = 3, 70
_PR_SET_PDEATHSIG = 1


class Inbox:
    """What the engine thread is to do, from the other threads; and calls that were cancelled while being prepared."""

    def __init__(self) -> None:
        self._items: deque[Any] = deque()
        self._wake = threading.Condition()
        self._preparing: set[int] = set()
        self._dropped: set[int] = set()

    def put(self, item: object) -> None:
        with self._wake:
            self._items.append(item)
            self._wake.notify()

    def begin(self, call_id: int) -> None:
        with self._wake:
            self._preparing.add(call_id)

    def prepared(self, call_id: int, item: object | None) -> bool:
        """Hands a prepared call on, unless it was cancelled meanwhile; True if it is still wanted."""
        with self._wake:
            self._preparing.discard(call_id)
            if call_id in self._dropped:
                self._dropped.discard(call_id)
                return False
            if item is not None:
                self._items.append(item)
                self._wake.notify()
            return True

    def cancel(self, frame: frames.Cancel) -> None:
        with self._wake:
            if frame.id in self._preparing:
                self._dropped.add(frame.id)
            else:
                self._items.append(frame)
                self._wake.notify()

    def is_dropped(self, call_id: int) -> bool:
        return call_id in self._dropped

    def take(self, wait: float | None) -> list[Any]:
        """Everything that is there; with nothing there, waits (None: for ever; 0: not at all)."""
        with self._wake:
            if not self._items and wait != 0:
                self._wake.wait(wait)
            items = list(self._items)
            self._items.clear()
            return items


class Worker:
    """One process, one model."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._outbox = Outbox(sock)
        self._inbox = Inbox()
        self._to_prepare: SimpleQueue[Any] = SimpleQueue()
        self._loaded: Loaded | None = None
        self._step_began: float | None = None
        self._preparing: tuple[int, float] | None = None

    def run(self) -> int:
        """Until shut down; the exit status."""
        threading.Thread(target=self._read, name="frames", daemon=True).start()
        load = self._first()
        if load is None:
            return 0
        try:
            self._loaded = Loaded(load.path, load.setup, self._progress, self._in_danger)
        except LoadFailed as error:
            self._outbox.send(frames.Failed(spec.MALFORMED, str(error)))
            self._outbox.drain()
            return EXIT_LOAD
        threading.Thread(target=self._prepare_all, name="prepare", daemon=True).start()
        self._outbox.send(frames.Ready(self._loaded.info))
        try:
            self._serve(self._loaded)
        except Exception as error:  # noqa: BLE001 - whatever it was, the calls must hear of it; then a new process starts clean
            traceback.print_exc()
            what = str(error) if isinstance(error, EngineBroken) else f"{type(error).__name__}: {error}"
            self._loaded.fail_all(f"the engine broke: {what}")
            self._flush(self._loaded)
            self._outbox.drain()
            return EXIT_BROKEN
        self._outbox.drain()
        self._loaded.close()
        return 0

    def _first(self) -> frames.Load | None:
        while True:
            for item in self._inbox.take(None):
                if isinstance(item, frames.Load):
                    return item
                if isinstance(item, frames.Shutdown):
                    return None

    def _progress(self, share: float) -> None:
        self._outbox.send(frames.Progress(share))

    def _in_danger(self, reason: str) -> None:
        """Last words ahead of time; a Ready takes them back."""
        self._outbox.send(frames.Failed(spec.MALFORMED, reason))
        self._outbox.drain()

    # -- the engine thread ----------------------------------------------------------------------------------------

    def _serve(self, loaded: Loaded) -> None:
        idle_wait: float | None = None
        while True:
            for item in self._inbox.take(0 if loaded.busy and idle_wait is None else idle_wait):
                if isinstance(item, frames.Shutdown):
                    return
                if isinstance(item, frames.Cancel):
                    loaded.cancel(item.id)
                elif isinstance(item, frames.Stats):
                    self._outbox.send(frames.Reply(item.id, counters=loaded.counters()))
                else:
                    loaded.submit(item)
            self._step_began = began = time.monotonic()
            worked = loaded.step()
            self._step_began = None
            self._flush(loaded, follows=time.monotonic() - began < SHORT_S)
            # calls that wait for nothing but a deadline must not make the loop spin
            idle_wait = 0.02 if loaded.busy and not worked else None

    def _flush(self, loaded: Loaded, *, follows: bool = False) -> None:
        """Sends what the step said; `follows`: the next one will do so in a moment."""
        out = loaded.out
        if out.deltas or out.admitted or out.done:
            send = self._outbox.follow if follows else self._outbox.send
            send(frames.Step(out.deltas, out.admitted, out.done))
            out.deltas, out.admitted, out.done = [], [], []
        for error in out.errors:
            self._outbox.send(error)
        for reply in out.replies:
            self._outbox.send(reply)
        out.errors, out.replies = [], []

    # -- the other threads ----------------------------------------------------------------------------------------

    def _read(self) -> None:
        splitter = frames.FrameSplitter(frames.engine_decoder)
        while True:
            try:
                data = self._sock.recv(1 << 20)
            except OSError:
                data = b""
            if not data:
                os._exit(0)  # the gateway is gone
            try:
                for frame in splitter.feed(data):
                    self._on_frame(frame)
            except frames.FrameError:
                traceback.print_exc()
                os._exit(EXIT_BROKEN)

    def _on_frame(self, frame: frames.ToEngine) -> None:
        if isinstance(frame, frames.Ping):
            now = time.monotonic()
            began, preparing = self._step_began, self._preparing
            self._outbox.send(
                frames.Pong(
                    frame.sent,
                    0.0 if began is None else now - began,
                    0 if preparing is None else preparing[0],
                    0.0 if preparing is None else now - preparing[1],
                )
            )
        elif isinstance(frame, frames.Cancel):
            self._inbox.cancel(frame)
        elif isinstance(frame, frames.Gen | frames.EmbedCall | frames.Tokenize | frames.Render):
            self._inbox.begin(frame.id)
            self._to_prepare.put((frame, time.monotonic()))
        else:
            self._inbox.put(frame)

    def _prepare_all(self) -> None:
        assert self._loaded is not None
        while True:
            frame, received = self._to_prepare.get()
            if self._inbox.is_dropped(frame.id):
                self._inbox.prepared(frame.id, None)
                continue
            self._preparing = (frame.id, time.monotonic())
            try:
                item, reply = self._loaded.prepare(frame, received)
                if self._inbox.prepared(frame.id, item) and reply is not None:
                    self._outbox.send(reply)
            except (Refusal, PromptError) as error:
                self._refuse(frame.id, error.code, str(error), error)
            except Exception as error:  # noqa: BLE001 - one call's trouble is not the others'
                traceback.print_exc()
                self._refuse(frame.id, spec.SERVER, f"the call could not be prepared: {type(error).__name__}")
            self._preparing = None

    def _refuse(self, call_id: int, code: str, message: str, error: Any = None) -> None:
        if self._inbox.prepared(call_id, None):
            param, details = getattr(error, "param", None), getattr(error, "details", None)
            self._outbox.send(frames.Error(call_id, code, message, param, None, details))


def _die_with(parent: int) -> None:
    """The kernel kills this process when the gateway's dies, however it dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if parent and os.getppid() != parent:
        os._exit(0)  # it died before the line above


def main() -> None:
    parser = argparse.ArgumentParser(description="one model, one process; started by the gateway")
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--parent", type=int, default=0)
    args = parser.parse_args()
    _die_with(args.parent)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the gateway says when to stop
    code = Worker(socket.socket(fileno=args.fd)).run()
    sys.stderr.flush()
    os._exit(code)  # threads and native libraries are not asked to say goodbye


if __name__ == "__main__":
    main()
