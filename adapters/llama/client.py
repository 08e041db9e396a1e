"""One engine process as the gateway sees it: spawn, frames in and out, death.

Owns the process, its socket and its last words (stderr). Refuses to know calls, restarts and models. Invariants: the
child inherits one descriptor and an environment without the gateway's secrets; `exited` completes only after every
frame that the child sent has been handed over; nothing of it survives `kill`.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import cast

from adapters.llama.frames import (
    FrameError,
    FrameSplitter,
    Load,
    Shutdown,
    ToEngine,
    ToGateway,
    encode,
    gateway_decoder,
)
from adapters.llama.spec import Setup

_ROOT = Path(__file__).resolve().parents[2]
_PASSED = ("PATH", "HOME", "LANG", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "SYSTEMROOT")
_PASSED_PREFIXES = ("LC_", "CUDA_", "NVIDIA_", "HIP_", "ROCR_", "HSA_", "OMP_", "KMP_", "GOMP_", "PYTHONHASHSEED")


def child_environment() -> dict[str, str]:
    """What the child needs and nothing else: no keys, no `LLAMA_CPP_LIB_PATH` (another build would corrupt memory)."""
    env = {k: v for k, v in os.environ.items() if k in _PASSED or k.startswith(_PASSED_PREFIXES)}
    env["GGML_NO_BACKTRACE"] = "1"  # an assert would otherwise start a debugger
    env["PYTHONPATH"] = str(_ROOT)
    # threads that wait for each other spin for a millisecond by default; where cores are shared, that is ruinous
    # (measured with two busy neighbours on two cores: 12 tokens a second instead of 58)
    env.setdefault("GOMP_SPINCOUNT", "2000")
    return env


class Child(asyncio.Protocol):
    """`await Child.spawn(...)`; then `send`, `kill`, `shutdown`, `exited`."""

    def __init__(self, on_frame: Callable[[ToGateway], None]) -> None:
        self._on_frame = on_frame
        self._splitter = FrameSplitter(gateway_decoder)
        self._transport: asyncio.Transport | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._lost = asyncio.Event()
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.last_words: deque[str] = deque(maxlen=40)
        self.killed_for = ""

    @classmethod
    async def spawn(cls, path: str, setup: Setup, on_frame: Callable[[ToGateway], None]) -> "Child":
        """The process runs and has been told what to load. OSError if it cannot be started."""
        child = cls(on_frame)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            ours.setblocking(False)
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            child._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "adapters.llama.worker"),
                *("--fd", str(theirs.fileno()), "--parent", str(os.getpid())),
                pass_fds=(theirs.fileno(),),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                env=child_environment(),
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda: child, sock=ours)
        except BaseException:
            child.kill("it could not be connected to")
            raise
        child._tasks = [asyncio.create_task(child._listen()), asyncio.create_task(child._watch())]
        child.send(Load(path, setup))
        return child

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def send(self, frame: ToEngine) -> None:
        """FrameError if it is too large. A child that is gone is no error here: its death is told elsewhere."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(encode(frame))

    def kill(self, reason: str) -> None:
        """At once, also when it is stopped."""
        self.killed_for = self.killed_for or reason
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGKILL)

    async def shutdown(self, grace_s: float) -> None:
        """Asks it to end, and makes it end."""
        self.send(Shutdown())
        try:
            await asyncio.wait_for(asyncio.shield(self.exited), grace_s)
        except TimeoutError:
            self.kill("it did not end when asked to")
            await self.exited

    # -- asyncio.Protocol -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by class

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._splitter.feed(data):
                self._on_frame(frame)
        except FrameError as error:
            self.kill(f"it sent what is no frame ({error})")

    def connection_lost(self, _error: Exception | None) -> None:
        self._lost.set()

    # -- watching -------------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        rest = b""
        while data := await self._process.stderr.read(8192):
            *lines, rest = (rest + data).split(b"\n")
            rest = rest[-2000:]
            self.last_words.extend(line.decode("utf-8", "replace")[:2000] for line in lines if line.strip())
        if rest.strip():
            self.last_words.append(rest.decode("utf-8", "replace"))

    async def _watch(self) -> None:
        assert self._process is not None
        code = await self._process.wait()
        await self._tasks[0]
        await self._lost.wait()
        if self._transport is not None:
            self._transport.close()
        if not self.exited.done():
            self.exited.set_result(code)

    def obituary(self, code: int) -> str:
        """One line about how it ended."""
        if self.killed_for:
            return f"the engine process was killed: {self.killed_for}"
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"status {code}"
        said = next((line for line in reversed(self.last_words) if "ASSERT" in line or "rror" in line), "")
        return f"the engine process ended with {how}" + (f" ({said.strip()[:300]})" if said else "")
