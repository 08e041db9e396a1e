"""The scribe: a process beside a busy worker that brings the rows of its plain calls from the journal's board into the SQLite
file. `python -m proxy.ledger.scribe`, started by `scribe_client.py` and by nobody else.

It reads the board and never writes there: which places are taken is the worker's to say. It hears frames (a length, then as
many bytes) on its standard input and answers each on its standard output: first a `Setup`; then places, four bytes each,
whose rows go into the file in one transaction. An answer is empty, or says why nothing was written. It ends with its input,
hence with the worker, however that dies; what was in its hands then is the heir's too, and there is one row of a call.
"""

import contextlib
import gc
import mmap
import signal
import sqlite3
import struct
import sys
import threading
from pathlib import Path
from typing import IO

import msgspec

from proxy.ledger.append import CHECKPOINT_EVERY, ROWS_LIKE_ONE, TAKE_IN, append, opened
from proxy.ledger.board import entered, parted
from proxy.ledger.bulk import Bulk, Shape
from proxy.ledger.plain import MOST, Terms

LENGTH = struct.Struct("<I")


class Setup(msgspec.Struct, frozen=True):
    """The database's file, the worker's journal, the table."""

    file: str
    journal: str
    shape: Shape


def hear(line: IO[bytes]) -> bytes | None:
    """The next frame; None at the end."""
    head = line.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    said = line.read(length)
    return said if len(said) == length else None


def say(line: IO[bytes], words: bytes) -> None:
    line.write(LENGTH.pack(len(words)) + words)


class Scribe:
    """Over one file and one board. A connection that failed is not used again."""

    def __init__(self, setup: Setup) -> None:
        with Path(setup.journal).open("rb") as journal:
            self._room = mmap.mmap(journal.fileno(), 0, access=mmap.ACCESS_READ)
        self._file = setup.file
        self._bulk = Bulk(setup.shape)
        self._connection: sqlite3.Connection | None = None
        self._known: dict[bytes, Terms] = {}
        self._rows = 0  # in the log since it was last taken in
        self._taking: threading.Thread | None = None

    def write(self, places: bytes) -> None:
        """Raises sqlite3.Error."""
        connection = self._connection = self._connection or opened(self._file)
        if len(self._known) > MOST:
            self._known.clear()
        ended = [entered(self._room, place, self._known) for place in memoryview(places).cast("I")]
        try:
            self._rows += append(connection, self._bulk, (), parted(self._room, ended))
        except BaseException:
            self._connection = None
            connection.close()
            raise
        self._tidy(connection)

    def _tidy(self, connection: sqlite3.Connection) -> None:
        """The log is taken in by a thread while rows go on coming; then the little that came meanwhile, so that the log
        begins again. What goes wrong here, the next rows say."""
        if self._taking is not None and not self._taking.is_alive():
            self._taking = None
            with contextlib.suppress(sqlite3.Error):
                connection.execute(TAKE_IN).fetchall()
        if self._rows >= CHECKPOINT_EVERY * ROWS_LIKE_ONE and self._taking is None:
            self._rows = 0
            self._taking = threading.Thread(target=self._take_in, daemon=True)
            self._taking.start()

    def _take_in(self) -> None:
        with contextlib.suppress(sqlite3.Error), contextlib.closing(opened(self._file)) as connection:
            connection.execute(TAKE_IN).fetchall()

    def close(self) -> None:
        if self._taking is not None:
            self._taking.join()
        if self._connection is not None:
            self._connection.close()
        self._room.close()


def serve(heard: IO[bytes], said: IO[bytes]) -> None:
    setup = hear(heard)
    if setup is None:
        return
    try:
        scribe = Scribe(msgspec.msgpack.decode(setup, type=Setup))
    except OSError as error:  # the worker has gone, and somebody has settled its journal
        say(said, str(error).encode())
        return
    say(said, b"")
    with contextlib.closing(scribe):
        while (places := hear(heard)) is not None:
            try:
                scribe.write(places)
            except sqlite3.Error as error:
                say(said, (str(error) or type(error).__name__).encode())
            else:
                say(said, b"")


def main() -> None:
    # who stops a service tells all its processes: the worker ends first, and wants its last rows written
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)
    # whichever way its worker went, that is the end
    with contextlib.suppress(ConnectionError), open(1, "wb", buffering=0, closefd=False) as said:
        serve(sys.stdin.buffer, said)


if __name__ == "__main__":
    main()
