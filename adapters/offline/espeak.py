"""The parent of the espeak-ng process: starts it, hands it sentences, starts it again when it dies.

It owns the process and the frames between (see `espeak_child`) and never loads the library itself. Invariants: one
sentence is under way at a time, so a slow listener holds nobody up; a caller that leaves never upsets the frames of the
next; a sentence that kills the process twice, or stalls it, is an UpstreamError and the process is fresh afterwards.
"""

import asyncio
import contextlib
import os
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from adapters.offline.espeak_child import ASK, END, FAIL, PCM, READY, TELL
from adapters.offline.voices import Voice
from proxy.errors import Fault, UpstreamError

WORDS_PER_MINUTE: Final = 175  # espeak-ng's own pace; it takes 80 to 449
_COMMAND: Final = (sys.executable, "-P", "-m", "adapters.offline.espeak_child")
_ROOT: Final = Path(__file__).resolve().parents[2]
_PASSED: Final = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT")
_MAX_FRAME: Final = 64 << 20


class Espeak:
    """One child process, started at first use (or by `warm`). Belongs to one event loop."""

    paces: Final = (1.0, 1.0)  # its own rates do not scale pauses (a list at double pace takes 0.64, not 0.5)

    def __init__(
        self, *, command: Sequence[str] = _COMMAND, start_timeout_s: float = 20.0, sentence_timeout_s: float = 20.0
    ) -> None:
        self.rate = 22_050
        self.starts = 0
        self._command = tuple(command)
        self._start_timeout_s, self._sentence_timeout_s = start_timeout_s, sentence_timeout_s
        self._process: asyncio.subprocess.Process | None = None
        self._lock = asyncio.Lock()
        self._number = 0
        self._closed = False
        self._under_way: set[asyncio.Task[bytes]] = set()

    @property
    def pid(self) -> int | None:
        """The child's, while there is one."""
        return self._process.pid if self._process is not None else None

    async def warm(self) -> None:
        """Start the process now rather than with the first sentence. UpstreamError where it cannot start."""
        async with self._lock:
            await self._ready()

    async def sentence(self, text: str, voice: Voice, pace: float) -> bytes:
        """PCM s16 mono at `rate`. `pace` 1 is normal, within `paces`. UpstreamError where it fails."""
        task = asyncio.ensure_future(self._whole_sentence(text, voice, pace))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # seen, should the caller have left
        return await asyncio.shield(task)

    async def _whole_sentence(self, text: str, voice: Voice, pace: float) -> bytes:
        words = max(80, min(449, round(WORDS_PER_MINUTE * pace)))
        async with self._lock:
            try:
                return await self._exchange(text, voice, words)
            except (OSError, EOFError):  # it died: of this sentence, or on its own before
                await self._end()
            try:
                return await self._exchange(text, voice, words)
            except (OSError, EOFError) as error:
                code = await self._end()
                why = f"by signal {-code}" if code is not None and code < 0 else f"with code {code}"
                text = f"The speech process ended {why} over one sentence, twice."
                raise UpstreamError(Fault.SERVER, text, accepted=False) from error

    async def _exchange(self, text: str, voice: Voice, words: int) -> bytes:
        process = await self._ready()
        assert process.stdin is not None, "it was started with pipes"
        self._number = (self._number + 1) & 0xFFFFFFFF
        data, name = text.encode(errors="replace"), voice.reading(text).encode()
        process.stdin.write(ASK.pack(self._number, len(data), words, voice.pitch, len(name)) + name + data)
        try:
            async with asyncio.timeout(self._sentence_timeout_s):
                await process.stdin.drain()
                return await self._answer(process)
        except TimeoutError:
            await self._end()
            why = f"The speech process gave no answer within {self._sentence_timeout_s:g} s and was restarted."
            raise UpstreamError(Fault.TIMEOUT, why, accepted=False) from None

    async def _answer(self, process: asyncio.subprocess.Process) -> bytes:
        parts: list[bytes] = []
        while True:
            number, kind, payload = await _frame(process)
            if number != self._number:
                raise EOFError("frames out of step")
            if kind == PCM:
                parts.append(payload)
            elif kind == END:
                return b"".join(parts)
            elif kind == FAIL:
                why = f"The speech process refused the sentence: {payload.decode(errors='replace')[:200]}."
                raise UpstreamError(Fault.SERVER, why, accepted=False)

    async def _ready(self) -> asyncio.subprocess.Process:
        """The running process; starts it. Only under the lock."""
        if self._closed:
            raise UpstreamError(Fault.CONNECT, "The speech engine is closed.", accepted=False)
        if self._process is not None and self._process.returncode is None:
            return self._process
        await self._end()
        try:
            async with asyncio.timeout(self._start_timeout_s):
                self._process = process = await asyncio.create_subprocess_exec(
                    *self._command, stdin=-1, stdout=-1, stderr=asyncio.subprocess.DEVNULL, env=_environment()
                )
                self.starts += 1
                _, kind, payload = await _frame(process)
        except (OSError, EOFError, TimeoutError) as error:
            code = await self._end()
            why = f"The speech process does not start ({type(error).__name__}, exit code {code})."
            raise UpstreamError(Fault.CONNECT, why, accepted=False) from None
        if kind != READY:
            await self._end()
            why = payload.decode(errors="replace")[:200]
            raise UpstreamError(Fault.CONNECT, f"The speech process does not start: {why}.", accepted=False)
        (self.rate,) = struct.unpack("<I", payload)
        return process

    async def _end(self) -> int | None:
        """Kill and reap what is left of the process; its exit code."""
        process, self._process = self._process, None
        if process is None:
            return None
        if process.stdin is not None:
            process.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            if process.returncode is None and not await _ends_by_itself(process):
                process.kill()
        return await process.wait()

    async def aclose(self) -> None:
        """End the process; idempotent. A sentence under way is given up."""
        self._closed = True
        for task in list(self._under_way):
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        async with self._lock:
            await self._end()


async def _ends_by_itself(process: asyncio.subprocess.Process) -> bool:
    """A moment for one whose pipe broke or was closed: its own exit code tells more than our kill."""
    try:
        async with asyncio.timeout(0.5):
            await process.wait()
    except TimeoutError:
        return False
    return True


async def _frame(process: asyncio.subprocess.Process) -> tuple[int, int, bytes]:
    """EOFError where the process ended instead."""
    assert process.stdout is not None, "it was started with pipes"
    number, kind, size = TELL.unpack(await process.stdout.readexactly(TELL.size))
    if size > _MAX_FRAME:
        raise EOFError("a frame of impossible size")
    return number, kind, await process.stdout.readexactly(size)


def _environment() -> dict[str, str]:
    """What the child needs to start, and none of our secrets."""
    kept = {name: os.environ[name] for name in _PASSED if name in os.environ}
    path = os.pathsep.join(part for part in (str(_ROOT), os.environ.get("PYTHONPATH", "")) if part)
    return {**kept, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
