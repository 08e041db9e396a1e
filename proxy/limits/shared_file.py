"""One mapped file that N processes of a machine change together: a lock, a redo journal, records found by key.

It knows nothing of buckets. Whoever is killed, at any instruction, leaves the lock to the kernel and at most a complete
journal behind, which the next holder replays; a change is therefore in the file whole or not at all. The file is as
durable as the machine's memory: after a reboot it starts empty.
"""

import fcntl
import hashlib
import mmap
import os
import struct
import time
import zlib
from pathlib import Path
from types import TracebackType

MAGIC = b"TGLIMIT2"
RECORD = 592  # key 16, eight 64-bit words of head, 64 words of body
HEAD = struct.Struct("<16s8q")
BODY_AT = HEAD.size
WORKERS = 64
_JOURNAL = 4096
_JOURNAL_MAX = 60_000
_RECORDS = 65_536
_COMMIT = struct.Struct("<QQ")  # length of the body, its checksum: both nought when there is nothing to replay
_ENTRY = struct.Struct("<QI")
PROBES = 48
BUSY_S = 0.25


class SharedBusy(Exception):
    """The lock could not be had in time: its holder is stopped, or the machine is swamped."""


class SharedFull(Exception):
    """Every place where this key could stand is in use."""


def _boot_id() -> bytes:
    try:
        text = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:  # not Linux: a reboot shows in the monotonic clock's origin only, so take the day it began
        text = str(int(time.time() - time.monotonic()) // 3600)
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


class SharedFile:
    """Open in each process by itself, after any fork. Use: `with file: …` holds the lock; `change` what is to be written.

    Raises:
        SharedBusy: on entering. SharedFull: of `find`. OSError: the file cannot be made (a full disk, say).
    """

    def __init__(self, path: Path, records: int = 8192) -> None:
        self.path = path
        self.records = records
        self._size = _RECORDS + records * RECORD
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._pending: list[tuple[int, bytes]] = []
        self._taken: set[int] = set()  # places promised since the lock was taken
        self._places: dict[bytes, int] = {}  # where a key stood last: a hint
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        try:
            self._prepare()
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
        self.worker, self._worker_fd = self._claim()

    def _prepare(self) -> None:
        boot = _boot_id()
        head = os.pread(self._fd, 32, 0)
        if head != MAGIC + struct.pack("<Q", self.records) + boot or os.fstat(self._fd).st_size != self._size:
            os.ftruncate(self._fd, 0)
            os.posix_fallocate(self._fd, 0, self._size)  # never a SIGBUS later, for want of room
            os.pwrite(self._fd, MAGIC + struct.pack("<Q", self.records) + boot, 0)
        self._map = mmap.mmap(self._fd, self._size)

    # -- workers: each holds a lock on its own file for as long as it lives

    def _worker_path(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")

    def _claim(self) -> tuple[int, int]:
        for number in range(WORKERS):
            fd = os.open(self._worker_path(number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(fd)
                continue
            return number, fd
        raise SharedFull(f"more than {WORKERS} processes share {self.path.name}")

    def alive(self, number: int) -> bool:
        """Whether the process that claimed this number still runs: the kernel drops a dead one's lock."""
        if number == self.worker:
            return True
        try:
            fd = os.open(self._worker_path(number), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        else:
            return False
        finally:
            os.close(fd)

    # -- the lock

    def __enter__(self) -> "SharedFile":
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._wait()
        if self._map[_JOURNAL : _JOURNAL + 16] != bytes(16):
            self._replay()
        return self

    def _wait(self) -> None:
        deadline = time.monotonic() + BUSY_S
        tries = 0
        while True:
            tries += 1
            if tries < 20:
                os.sched_yield()  # a holder needs some twenty microseconds
            else:
                time.sleep(0.0001)
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise SharedBusy(f"{self.path.name} is held by a process that does not move") from None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self._pending:
                self._commit()
        finally:
            self._pending.clear()
            self._taken.clear()
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def _commit(self) -> None:
        body = b"".join(_ENTRY.pack(offset, len(data)) + data for offset, data in self._pending)
        if len(body) > _JOURNAL_MAX:
            raise ValueError("more is changed at once than the journal holds")
        start = _JOURNAL + 16
        self._map[start : start + len(body)] = body
        self._map[_JOURNAL:start] = _COMMIT.pack(len(body), zlib.crc32(body) + 1)
        for offset, data in self._pending:
            self._map[offset : offset + len(data)] = data
        self._map[_JOURNAL:start] = bytes(16)

    def _replay(self) -> None:
        """What a killed holder had committed is applied (again); what it had not is forgotten."""
        length, check = _COMMIT.unpack_from(self._map, _JOURNAL)
        start = _JOURNAL + 16
        if 0 < length <= _JOURNAL_MAX:
            body = self._map[start : start + length]
            if zlib.crc32(body) + 1 == check:
                at = 0
                while at < length:
                    offset, size = _ENTRY.unpack_from(body, at)
                    at += _ENTRY.size
                    self._map[offset : offset + size] = body[at : at + size]
                    at += size
        self._map[_JOURNAL:start] = bytes(16)

    # -- records; all of these but `glance` only while the lock is held

    def find(self, key: bytes, now: int) -> tuple[int, bool]:
        """The place (an offset) of this key's record, and whether it stands there already. A new one may take the place
        of a record whose `spare_at` (the head's last word) has passed.

        Raises:
            SharedFull: no place is left.
        """
        place = self._places.get(key)
        if place is not None and self._map[place : place + 16] == key:
            return place, True
        number = int.from_bytes(key[:8], "little")
        free = -1
        for probe in range(PROBES):
            place = _RECORDS + (number + probe) % self.records * RECORD
            there, *words = HEAD.unpack_from(self._map, place)
            if there == key:
                self._places[key] = place
                return place, True
            empty = there == bytes(16)
            if place in self._taken:
                continue
            if free < 0 and (empty or words[-1] <= now):
                free = place
            if empty:
                break
        if free < 0:
            raise SharedFull("no room for another bucket: more are in use at once than the file holds")
        if len(self._places) > 4 * self.records:
            self._places.clear()
        self._places[key] = free
        self._taken.add(free)
        return free, False

    def glance(self, key: bytes) -> bytes | None:
        """This key's record as it stands now; the lock is not needed, each single word of it is whole."""
        number = int.from_bytes(key[:8], "little")
        for probe in range(PROBES):
            place = _RECORDS + (number + probe) % self.records * RECORD
            there = self._map[place : place + 16]
            if there == key:
                return self.read(place)
            if there == bytes(16):
                return None
        return None

    def read(self, place: int) -> bytes:
        return self._map[place : place + RECORD]

    def change(self, place: int, data: bytes) -> None:
        """Write when the lock is left, all changes or none."""
        self._pending.append((place, data))

    def flush(self) -> None:
        """Write what is pending now; the lock stays."""
        self._commit()
        self._pending.clear()

    def each(self) -> list[tuple[int, bytes]]:
        """Every record that stands in the file, with its place."""
        found = []
        for place in range(_RECORDS, self._size, RECORD):
            data = self._map[place : place + RECORD]
            if data[:16] != bytes(16):
                found.append((place, data))
        return found

    def close(self) -> None:
        if self._fd >= 0:
            self._map.close()
            os.close(self._fd)
            os.close(self._worker_fd)
            self._fd = -1
