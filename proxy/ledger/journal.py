"""What must outlive this process and is not in the database yet: marks of open calls, and settled rows. Plain calls have their
places on its board (`board.py`); here are records, for any other.

One file per process, its room reserved beforehand, so that a full disk does not stop it; a store is in the kernel, hence
safe from kill -9, before the function that makes it returns (not from a power cut). It knows bytes and call ids, no columns.
The file is locked while its process lives: whoever gets the lock knows that its owner is dead, and inherits what it says.
Its top says how many rows were put in and how many of them the database has, so that anybody can tell what he would miss.
"""

import fcntl
import mmap
import os
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from zlib import crc32

import msgspec

from proxy.ledger import board as boards
from proxy.ledger.board import Board, Entered
from proxy.ledger.plain import Facts

MARK, ROW, NEVER = 1, 2, 3
SEGMENT = 8 << 20
TIDY_FROM = 2 << 20
TIDY_LIVE = 1000
MAGIC = b"tgjourn3"
_TOP = struct.Struct("=8sQQQ")  # MAGIC; rows put in; rows that the database took; 1 while it takes none
_WORD = struct.Struct("=Q")
_PUT, _TAKEN, _STUCK = 1, 2, 3  # which of the top's words they are
_HEAD = struct.Struct("<IIIB")  # checksum, length of the text, generation, kind
_SIZE = _HEAD.size
SUFFIX = ".journal"

Entry = tuple[int, bytes]


class JournalFull(Exception):
    """No room for another mark or row: the database has been away for too long."""


class Journal:
    """Two segments, used in turn: when one is full, what is still live is copied to the other, a generation later. The board
    stands behind them. `full`: there was no room for the last record."""

    def __init__(self, folder: Path, segment: int = SEGMENT) -> None:
        self._segment = segment
        self._open: dict[str, bytes] = {}
        self._rows: list[bytes] = []  # the oldest first, which the database takes first
        self.put = 0  # rows, ever
        self.taken = 0
        self.full = False
        self._stuck = False
        self._generation = 1
        self._at = _TOP.size
        self._end = self._at + segment
        folder.mkdir(parents=True, exist_ok=True)
        size = _TOP.size + 2 * segment + boards.SIZE
        self.path, self._fd = _create(folder, size)
        # its room is reserved: a store is as safe as a write, and no system call
        self._map = mmap.mmap(self._fd, size)
        _TOP.pack_into(self._map, 0, MAGIC, 0, 0, 0)
        self._top = memoryview(self._map)[: _TOP.size].cast("Q")  # as words, one of which is written for every call
        self.board = Board(self._map, size - boards.SIZE)

    @property
    def live(self) -> int:
        """How many marks and rows still need its records."""
        return len(self._open) + len(self._rows)

    def write(self, kind: int, call_id: str, text: bytes) -> None:
        """MARK: a call is open. ROW: it is settled; kept until the database `took` it. Raises JournalFull.

        A row's call leaves the board with it.
        """
        length = len(text)
        start = self._at + _SIZE
        if start + length > self._end:
            self._turn(_SIZE + length)
            start = self._at + _SIZE
        generation = self._generation
        _HEAD.pack_into(self._map, self._at, crc32(text, generation << 2 | kind), length, generation, kind)
        self._at = end = start + length
        self._map[start:end] = text
        if kind == MARK:
            self._open[call_id] = text
            return
        self._open.pop(call_id, None)
        self.board.leave(call_id)
        if kind == ROW:
            self._rows.append(text)
            self.put += 1
            self._top[_PUT] = self.put

    def end(self, call_id: str, facts: Facts) -> Entered | None:
        """As a ROW, for a plain call: see `Board.end`."""
        entered = self.board.end(call_id, facts)
        if entered is not None:
            self.put = put = self.put + 1
            self._top[_PUT] = put
        return entered

    def took(self, count: int, ended: Sequence[Entered] = ()) -> None:
        """The database has the `count` oldest rows, and those of plain calls that have `ended`."""
        if not count and not ended:
            return
        del self._rows[:count]
        self.board.taken(ended)
        self.taken += count + len(ended)
        self._top[_TAKEN] = self.taken

    def done(self, call_id: str) -> None:
        """The row of an open call is in the database, and was never here."""
        self._open.pop(call_id, None)
        self.board.leave(call_id)

    def stuck(self, yes: bool) -> None:
        """Whether the database takes no rows at the moment, so that nobody waits for it."""
        if yes is not self._stuck:
            self._stuck = yes
            self._top[_STUCK] = yes

    def tidy(self) -> None:
        """Begin again, if there is much that nobody needs any more: an heir has to look through all of it."""
        used = self._at - (self._end - self._segment)
        if used > TIDY_FROM and self.live < TIDY_LIVE:
            self._turn(0)

    def forget(self, call_id: str) -> None:
        """An open call that never reached an upstream: there is nothing to book, now or after a crash."""
        self.board.leave(call_id)
        if call_id in self._open:
            self.write(NEVER, call_id, call_id.encode())

    def _turn(self, wanted: int) -> None:
        live = [*((MARK, text) for text in self._open.values()), *((ROW, text) for text in self._rows)]
        if sum(_SIZE + len(text) for _, text in live) + wanted > self._segment // 2:  # it would be full again at once
            self.full = True
            raise JournalFull("the journal is full of calls that the database has not taken")
        self.full = False
        self._generation += 1
        last = _TOP.size + self._segment
        start = last if self._end == last else _TOP.size
        data = b"".join(_record(kind, text, self._generation) for kind, text in live)
        self._map[start : start + len(data) + _SIZE] = data + bytes(_SIZE)
        self._at, self._end = start + len(data), start + self._segment

    def close(self) -> None:
        """Leave nothing behind if nothing is open."""
        if self._fd < 0:
            return
        if not self.live and not len(self.board):
            self.path.unlink(missing_ok=True)
        self.drop()

    def drop(self) -> None:
        """Let go of the file as it is: what the kernel does when its process dies."""
        self._top.release()
        self._map.close()
        os.close(self._fd)
        self._fd = -1


def _record(kind: int, text: bytes, generation: int) -> bytes:
    return _HEAD.pack(crc32(text, generation << 2 | kind), len(text), generation, kind) + text


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
    while at + _SIZE <= len(data):
        check, length, number, kind = _HEAD.unpack_from(data, at)
        start, end = at + _SIZE, at + _SIZE + length
        if number == 0 or end > len(data) or crc32(data[start:end], number << 2 | kind) != check:
            break
        if generation is None:
            generation = number
        elif number != generation:
            break
        found.append((kind, data[start:end]))
        at = end
    return found


class Estate:
    """The journal of a process that died, ours to settle. Keep it until its rows are in the database, then `close`."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd = fd
        data = os.pread(fd, os.fstat(fd).st_size, 0)
        if data.startswith(MAGIC):
            _stuck(fd, yes=False)  # its rows are on their way now: who reads may wait for them
        self.foreign = any(data[: len(MAGIC)]) and not data.startswith(MAGIC)  # another version wrote it
        data = b"" if self.foreign else data[_TOP.size :]
        self.board = data[len(data) - boards.SIZE :] if len(data) >= boards.SIZE else b""
        half = (len(data) - len(self.board)) // 2
        entries = _entries(data[:half]) + _entries(data[half : 2 * half])
        self.marks = [text for kind, text in entries if kind == MARK]
        self.rows = [text for kind, text in entries if kind == ROW]
        self.never = {text.decode() for kind, text in entries if kind == NEVER}

    def close(self, *, settled: bool) -> None:
        if settled:
            self.path.unlink(missing_ok=True)
        elif not self.foreign:
            _stuck(self._fd, yes=True)  # nobody waits for them until somebody tries again
        os.close(self._fd)


def _stuck(fd: int, *, yes: bool) -> None:
    os.pwrite(fd, _WORD.pack(yes), _STUCK * _WORD.size)


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


class Lag(msgspec.Struct, frozen=True):
    """A journal with rows that the database did not have when somebody looked: all up to the `put`-th."""

    path: Path
    put: int

    def over(self) -> bool:
        """Whether it has them now, or is known to take none at the moment. A journal that is gone was settled."""
        now = _top(self.path)
        return now is None or now[1] >= self.put or bool(now[2])


def lags(folder: Path, but: Path | None = None) -> list[Lag]:
    """Journals, whoever owns them and whether he lives or not, with rows that the database does not have."""
    found = []
    for path in folder.glob(f"*{SUFFIX}"):
        now = None if path == but else _top(path)
        if now is not None and now[0] > now[1]:
            found.append(Lag(path, now[0]))
    return found


def over(waited_for: Iterable[Lag]) -> list[Lag]:
    """Those of them that are not over yet."""
    return [lag for lag in waited_for if not lag.over()]


def _top(path: Path) -> tuple[int, int, int] | None:
    """Rows put in, rows taken, whether it is stuck; None for what is gone, or is no journal (yet)."""
    try:
        with path.open("rb", buffering=0) as file:
            data = file.read(_TOP.size)
    except FileNotFoundError:
        return None
    if len(data) < _TOP.size or not data.startswith(MAGIC):
        return None
    _, put, taken, stuck = _TOP.unpack(data)
    return put, taken, stuck
