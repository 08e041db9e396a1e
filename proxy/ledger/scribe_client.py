"""A worker's side of its scribe: who is asked to bring plain calls' rows into the SQLite file, so that the core that serves
does not. It owns the process: when one is worth it, its start, its questions, its end.

Nobody ever waits for a scribe to start, and none is needed: where there is none (yet, or any more) `write` says so, and
the worker's own thread writes. Invariant: once `write` is over, however it ended, nobody reads those places any more; one
that is cut off kills the scribe, and the next waits until it is dead.
"""

import asyncio
import os
import socket
import subprocess
import sys
import time
from array import array
from collections.abc import Sequence
from pathlib import Path

import msgspec

from proxy import log
from proxy.config import Scribing
from proxy.ledger.board import Entered
from proxy.ledger.bulk import Shape
from proxy.ledger.scribe import LENGTH, Setup
from proxy.ledger.tables import calls

MANY = 100  # rows at once: a thousand a second
LASTING = 5  # times in a row
PAUSES_S = (1.0, 10.0, 60.0, 600.0)  # until the next, when one has died
START_S = 10.0
END_S = 2.0
_ROOT = str(Path(__file__).parents[2])
_PASSED = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "PYTHONDONTWRITEBYTECODE", "TMPDIR")  # no keys
_encode = msgspec.msgpack.Encoder().encode
_log = log.get("ledger")


class ScribeClient:
    """Over a database's file and a journal. `when`: "always" from the first row on, "auto" once there is enough to write,
    "never"."""

    def __init__(self, file: Path, journal: Path, when: Scribing) -> None:
        self._setup = Setup(str(file), str(journal), Shape.of(calls))
        self._when = when
        self._busy = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._line: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._hiring: asyncio.Task[None] | None = None
        self._deaths = 0
        self._again_at = 0.0
        self.ready = False

    async def write(self, ended: Sequence[Entered]) -> bool:
        """Whether the database has their rows now; False: nobody is there to write them, and whoever asked may do it.

        Raises:
            OSError: the database did not take them, and why.
        """
        await self._buried()
        if not self.ready:
            self._consider(len(ended))
            return False
        try:
            why = await self._ask(array("I", [place for place, _, _, _ in ended]).tobytes())
        except (OSError, EOFError) as error:
            self._dismiss(str(error) or type(error).__name__)
            await self._buried()
            return False
        except BaseException:  # cut off: it may still be reading, and those places may be others' soon
            self._dismiss("it did not answer in time")
            raise
        if why:
            raise OSError(why)
        self._deaths = 0
        return True

    async def _ask(self, words: bytes) -> str:
        """Raises OSError, EOFError: it is gone."""
        assert self._line is not None
        heard, said = self._line
        if said.is_closing():
            raise EOFError("it has ended")
        said.write(LENGTH.pack(len(words)) + words)
        await said.drain()
        (length,) = LENGTH.unpack(await heard.readexactly(LENGTH.size))
        return (await heard.readexactly(length)).decode(errors="replace")

    # -- coming and going

    def _consider(self, rows: int) -> None:
        self._busy = self._busy + 1 if rows >= MANY else 0
        if self._when == "always" or (self._when == "auto" and self._busy >= LASTING):
            self._hire()

    def _hire(self) -> None:
        if self._process is None and self._hiring is None and time.monotonic() >= self._again_at:
            self._hiring = asyncio.get_running_loop().create_task(self._start(), name="ledger-scribe")

    async def _start(self) -> None:
        why = "it was cut off"
        try:
            self._line = await asyncio.open_unix_connection(sock=self._spawn())
            async with asyncio.timeout(START_S):
                why = await self._ask(_encode(self._setup))
            self.ready = not why
        except (OSError, EOFError) as error:
            why = str(error) or type(error).__name__
        finally:  # whatever it was: one that is not ready must be dead
            self._hiring = None
            if not self.ready:
                self._dismiss(why)

    def _spawn(self) -> socket.socket:
        """Raises OSError. Not by the loop's own way: uvloop's lets a child have every descriptor that can be inherited, and in a
        worker the listening socket is one."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = subprocess.Popen(
                    (sys.executable, "-P", "-m", "proxy.ledger.scribe"),
                    stdin=theirs.fileno(),
                    stdout=theirs.fileno(),
                    env={name: os.environ[name] for name in _PASSED if name in os.environ} | {"PYTHONPATH": _ROOT},
                    start_new_session=True,  # what is typed at a terminal is for the worker
                )
            except OSError:
                ours.close()
                raise
        return ours

    def _dismiss(self, why: str) -> None:
        """Nothing is lost: the worker writes what it did not."""
        self._again_at = time.monotonic() + PAUSES_S[min(self._deaths, len(PAUSES_S) - 1)]
        self._deaths += 1
        _log.warning("ledger_scribe_gone", why=why)
        self.ready = False
        self._kill()

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    async def _buried(self) -> None:
        """One that was dismissed is dead now."""
        if self._process is not None and not self.ready and self._hiring is None:
            await self._ended(self._process)

    async def _ended(self, process: "subprocess.Popen[bytes]") -> None:
        await asyncio.to_thread(process.wait)
        self._process = None
        if self._line is not None:
            self._line[1].close()
            self._line = None

    async def aclose(self) -> None:
        """It ends when it has heard the end; END_S later it is made to."""
        if self._hiring is not None:
            self._hiring.cancel()
            await asyncio.gather(self._hiring, return_exceptions=True)
        self.ready = False
        if self._process is None:
            return
        if self._line is not None:
            self._line[1].close()
        timer = asyncio.get_running_loop().call_later(END_S, self._kill)
        await self._ended(self._process)
        timer.cancel()
