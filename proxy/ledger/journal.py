"""What must outlive this process and is not in the database yet: marks of open calls, and rows that it would not take.

One file per process, its room reserved beforehand, so that a full disk does not stop it; a write is in the kernel, hence
safe from kill -9, before `mark` returns (not from a power cut). It knows bytes and call ids, no columns. The file is
locked while its process lives: whoever gets the lock knows that its owner is dead, and inherits what it says.
"""

import fcntl
import mmap
import os
import struct
import zlib
from pathlib import Path

MARK, ROW, NEVER = 1, 2, 3
SEGMENT = 8 << 20
TIDY_FROM = 1 << 20
TIDY_LIVE = 1000
_HEAD = struct.Struct("<IIIB")  # checksum of all that follows, length of the text, generation, kind
SUFFIX = ".journal"

Entry = tuple[int, bytes]


class JournalFull(Exception):
    """No room for another mark or row: the database has been away for too long."""


class Journal:
    """Two segments, used in turn: when one is full, what is still live is copied to the other, a generation later."""

    def __init__(self, folder: Path, segment: int = SEGMENT) -> None:
        self._segment = segment
        self._live: dict[str, Entry] = {}
        self._generation = 1
        self._at = 0
        self._end = segment
        folder.mkdir(parents=True, exist_ok=True)
        self.path, self._fd = _create(folder, 2 * segment)
        self._map = mmap.mmap(
            self._fd, 2 * segment
        )  # its room is reserved: a store is as safe as a write, and no system call

    @property
    def live(self) -> int:
        """How many marks and rows still need it."""
        return len(self._live)

    def mark(self, call_id: str, text: bytes) -> None:
        """Say that a call is open. Raises JournalFull."""
        self._write(call_id, (MARK, text))

    def row(self, call_id: str, text: bytes) -> None:
        """Keep a settled row that the database would not take. Raises JournalFull."""
        self._write(call_id, (ROW, text))

    def done(self, call_id: str) -> None:
        """The database has it (or it never reached an upstream)."""
        self._live.pop(call_id, None)

    def tidy(self) -> None:
        """Begin again, if there is much that nobody needs any more: an heir has to look through all of it."""
        used = self._at - (self._end - self._segment)
        if used > TIDY_FROM and len(self._live) < TIDY_LIVE:
            self._turn(0)

    def forget(self, call_id: str) -> None:
        """An open call that never reached an upstream: there is nothing to book, now or after a crash."""
        if self._live.pop(call_id, None) is not None:
            self._append((NEVER, call_id.encode()))

    def _write(self, call_id: str, entry: Entry) -> None:
        self._append(entry)
        self._live[call_id] = entry

    def _append(self, entry: Entry) -> None:
        data = self._record(entry)
        if self._at + len(data) > self._end:
            self._turn(len(data))
            data = self._record(entry)
        self._map[self._at : self._at + len(data)] = data
        self._at += len(data)

    def _record(self, entry: Entry) -> bytes:
        kind, text = entry
        tail = _HEAD.pack(0, len(text), self._generation, kind)[4:] + text
        return struct.pack("<I", zlib.crc32(tail)) + tail

    def _turn(self, wanted: int) -> None:
        live = sum(_HEAD.size + len(text) for _, text in self._live.values())
        if live + wanted > self._segment // 2:  # it would be full again at once
            raise JournalFull("the journal is full of calls that the database has not taken")
        self._generation += 1
        start = 0 if self._end == 2 * self._segment else self._segment
        data = b"".join(self._record(entry) for entry in self._live.values())
        data += bytes(_HEAD.size)
        self._map[start : start + len(data)] = data
        self._at, self._end = start + len(data) - _HEAD.size, start + self._segment

    def close(self) -> None:
        """Leave nothing behind if nothing is open."""
        if self._fd < 0:
            return
        if not self._live:
            self.path.unlink(missing_ok=True)
        self._map.close()
        os.close(self._fd)
        self._fd = -1


def _create(folder: Path, size: int) -> tuple[Path, int]:
    while True:
        path = folder / f"{os.getpid()}-{os.urandom(4).hex()}{SUFFIX}"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.posix_fallocate(fd, 0, size)
            if os.stat(path).st_ino == os.fstat(fd).st_ino:
                return path, fd
        except (BlockingIOError, FileNotFoundError):
            pass  # somebody who inherits took it for a dead one's
        except OSError:
            os.close(fd)
            path.unlink(missing_ok=True)
            raise
        os.close(fd)


def _entries(data: bytes) -> list[Entry]:
    """The records of one segment; it ends where the checksum or the generation does not fit."""
    found: list[Entry] = []
    at, generation = 0, None
    while at + _HEAD.size <= len(data):
        check, length, number, kind = _HEAD.unpack_from(data, at)
        end = at + _HEAD.size + length
        if number == 0 or end > len(data) or zlib.crc32(data[at + 4 : end]) != check:
            break
        if generation is None:
            generation = number
        elif number != generation:
            break
        found.append((kind, data[at + _HEAD.size : end]))
        at = end
    return found


class Estate:
    """The journal of a process that died, ours to settle. Keep it until its rows are in the database, then `close`."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd = fd
        data = os.pread(fd, os.fstat(fd).st_size, 0)
        half = len(data) // 2
        entries = _entries(data[:half]) + _entries(data[half:])
        self.marks = [text for kind, text in entries if kind == MARK]
        self.rows = [text for kind, text in entries if kind == ROW]
        self.never = {text.decode() for kind, text in entries if kind == NEVER}

    def close(self, *, settled: bool) -> None:
        if settled:
            self.path.unlink(missing_ok=True)
        os.close(self._fd)


def estates(folder: Path) -> list[Estate]:
    """Every journal whose owner is dead; nobody else gets the same one."""
    found = []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            continue
        if not path.exists():  # settled by somebody else between our two steps
            os.close(fd)
            continue
        found.append(Estate(path, fd))
    return found
