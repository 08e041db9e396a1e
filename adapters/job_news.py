"""News of jobs among the workers of one server: a report from outside may reach another worker than the job's own.

Each worker listens on a datagram socket in a folder that only its user can enter; what it cannot place it passes to the
others, as an id and nothing more. Invariants: nobody waits for anybody; what gets lost is found by polling; a single
worker opens nothing.
"""

import asyncio
import contextlib
import hashlib
import itertools
import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

from adapters.job_pace import workers
from proxy import log

LARGEST = 512  # bytes of an id
_log = log.get("jobs")
_numbers = itertools.count()


class JobNews:
    """One upstream's, in one worker. `heard` is told each id that another worker could not place."""

    def __init__(self, name: str, heard: Callable[[str], object], *, family: int | None = None) -> None:
        self._heard = heard
        self._topic = hashlib.sha256(name.encode()).hexdigest()[:12]
        self._family = os.getppid() if family is None else family
        self._socket: socket.socket | None = None
        self._path: Path | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def listen(self) -> None:
        """Begin to hear, where there is more than one worker. Cheap when it hears already."""
        if self._path is not None or workers() == 1:
            return
        try:
            self._bind()
        except OSError as error:
            _log.warning("workers cannot pass on reports of jobs", why=str(error))
            self.close()

    def _bind(self) -> None:
        folder = _folder(self._family)
        self._path = folder / f"{self._topic}-{os.getpid()}-{next(_numbers)}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(str(self._path))
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket.fileno(), self._read)

    def _read(self) -> None:
        assert self._socket is not None
        with contextlib.suppress(OSError):
            self._heard(self._socket.recv(LARGEST).decode("utf-8", "replace"))

    def tell(self, identity: str) -> None:
        """Pass an id to all others. Those who are gone are forgotten."""
        self.listen()
        if self._socket is None or self._path is None:
            return
        for path in self._path.parent.glob(f"{self._topic}-*"):
            if path == self._path:
                continue
            try:
                self._socket.sendto(identity.encode()[:LARGEST], str(path))
            except (ConnectionRefusedError, FileNotFoundError):
                path.unlink(missing_ok=True)
            except OSError:
                continue  # its buffer is full: polling will do

    def close(self) -> None:
        """Idempotent. The last one takes the folder along."""
        if self._socket is not None:
            if self._loop is not None and not self._loop.is_closed():
                self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self._path.parent.rmdir()
            self._path = None


def _folder(family: int) -> Path:
    """The folder of those who share a parent. OSError where others can enter it."""
    place = Path(tempfile.gettempdir()) / f"traghetto-{os.getuid()}-jobs-{family}"
    place.mkdir(mode=0o700, exist_ok=True)
    found = place.lstat()
    if found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(f"{place} belongs to somebody else, or others can enter it")
    return place
