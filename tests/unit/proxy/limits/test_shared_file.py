"""A mapped file that processes change together, and are killed over."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from proxy.limits.shared_file import HEAD, PROBES, RECORD, WORKERS, SharedBusy, SharedFile, SharedFull

ROOT = Path(__file__).parents[4]


def record(key: bytes, value: int, spare_at: int = 1 << 60) -> bytes:
    return HEAD.pack(key, 1, value, 0, 0, 0, 0, 0, spare_at)


def value(file: SharedFile, key: bytes) -> int | None:
    with file:
        place, there = file.find(key, 0)
        return int(HEAD.unpack_from(file.read(place))[2]) if there else None


def put(file: SharedFile, pairs: dict[bytes, int]) -> None:
    with file:
        for key, number in pairs.items():
            place, _ = file.find(key, 0)
            file.change(place, record(key, number))


def key(number: int) -> bytes:
    return number.to_bytes(8, "little") + b"\x01" * 8


class Dies(BaseException):
    pass


class Mortal:
    """The map of a process that is killed after so many writes."""

    def __init__(self, real: object, writes: int) -> None:
        self.real = real
        self.writes = writes

    def __getitem__(self, at: slice) -> bytes:
        return self.real[at]  # type: ignore[index,no-any-return]

    def __setitem__(self, at: slice, data: bytes) -> None:
        if self.writes == 0:
            raise Dies
        self.writes -= 1
        self.real[at] = data  # type: ignore[index]

    def __buffer__(self, flags: int) -> memoryview:
        return memoryview(self.real)  # type: ignore[arg-type]

    def close(self) -> None:
        pass


def test_a_change_is_whole_or_not_at_all_wherever_its_author_dies(tmp_path: Path) -> None:
    outcomes = set()
    for writes in range(8):
        path = tmp_path / f"f{writes}"
        author, other = SharedFile(path, 64), SharedFile(path, 64)
        put(author, {key(1): 10, key(2): 20})
        with author:  # leave no place to be looked up by the mortal one
            places = {number: author.find(key(number), 0)[0] for number in (1, 2)}
        author.__enter__()
        author.change(places[1], record(key(1), 11))
        author.change(places[2], record(key(2), 21))
        real = author._map
        author._map = Mortal(real, writes)  # type: ignore[assignment]
        with contextlib.suppress(Dies):
            author._commit()
        real.close()  # as the kernel does, and with the last of its handles goes the lock
        os.close(author._fd)
        found = (value(other, key(1)), value(other, key(2)))
        assert found in ((10, 20), (11, 21))
        outcomes.add(found)
        other.close()
    assert outcomes == {(10, 20), (11, 21)}


WRITER = """
    import sys
    from pathlib import Path
    sys.path[:0] = [{root!r}, {here!r}]
    from test_shared_file import SharedFile, key, put, value
    file = SharedFile(Path(sys.argv[1]), 64)
    print("ready", flush=True)
    while True:
        with file:
            places = [file.find(key(n), 0) for n in range(4)]
            from test_shared_file import HEAD, record
            now = HEAD.unpack_from(file.read(places[0][0]))[2] if places[0][1] else 0
            for n, (place, _) in enumerate(places):
                file.change(place, record(key(n), now + 1))
"""


def test_kill_9_leaves_a_file_that_goes_on(tmp_path: Path) -> None:
    script = tmp_path / "writer.py"
    script.write_text(textwrap.dedent(WRITER).format(root=str(ROOT), here=str(Path(__file__).parent)))
    path = tmp_path / "shared"
    file = SharedFile(path, 64)
    last = 0
    for turn in range(6):
        writer = subprocess.Popen([sys.executable, str(script), str(path)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        deadline = time.monotonic() + 10
        while (value(file, key(0)) or 0) < last + 50 + turn:
            assert time.monotonic() < deadline
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        found = {value(file, key(number)) for number in range(4)}
        assert len(found) == 1
        last = found.pop() or 0
    file.close()


def test_a_holder_that_does_not_move_is_not_waited_for(tmp_path: Path) -> None:
    one, two = SharedFile(tmp_path / "f", 64), SharedFile(tmp_path / "f", 64)
    with one:
        began = time.monotonic()
        with pytest.raises(SharedBusy), two:
            pass
        assert 0.2 < time.monotonic() - began < 2
    with two:
        pass
    one.close()
    two.close()


def test_an_exception_inside_changes_nothing(tmp_path: Path) -> None:
    file = SharedFile(tmp_path / "f", 64)
    put(file, {key(1): 10})

    def fail() -> None:
        with file:
            place, _ = file.find(key(1), 0)
            file.change(place, record(key(1), 99))
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        fail()
    assert value(file, key(1)) == 10
    file.close()


def test_places_are_used_again_when_they_are_spare_and_not_before(tmp_path: Path) -> None:
    file = SharedFile(tmp_path / "f", 64)
    crowd = [key(64 * number) for number in range(PROBES + 1)]  # all begin at the same place
    with file:
        for one in crowd[:PROBES]:
            place, there = file.find(one, 0)
            assert not there
            file.change(place, record(one, 1, spare_at=1000))
    with file, pytest.raises(SharedFull):
        file.find(crowd[-1], 999)
    with file:
        place, there = file.find(crowd[-1], 1000)
        assert not there
        file.change(place, record(crowd[-1], 2))
    assert value(file, crowd[-1]) == 2
    with file:
        there_now = {data[:16] for _, data in file.each()}
    assert len(there_now) == PROBES
    file.close()


def test_workers_have_numbers_and_the_dead_ones_come_free(tmp_path: Path) -> None:
    files = [SharedFile(tmp_path / "f", 64) for _ in range(3)]
    assert [file.worker for file in files] == [0, 1, 2]
    assert files[0].alive(1)
    assert not files[0].alive(7)
    files[1].close()
    assert not files[0].alive(1)
    again = SharedFile(tmp_path / "f", 64)
    assert again.worker == 1
    more = [SharedFile(tmp_path / "f", 64) for _ in range(WORKERS - 3)]
    with pytest.raises(SharedFull, match="more than"):
        SharedFile(tmp_path / "f", 64)
    for file in (files[0], files[2], again, *more):
        file.close()


def test_a_file_of_another_boot_or_size_starts_empty(tmp_path: Path) -> None:
    path = tmp_path / "f"
    file = SharedFile(path, 64)
    put(file, {key(1): 10})
    file.close()
    with path.open("r+b") as raw:
        raw.seek(16)
        raw.write(b"another boot....")
    file = SharedFile(path, 64)
    assert value(file, key(1)) is None
    put(file, {key(1): 11})
    file.close()
    file = SharedFile(path, 128)
    assert value(file, key(1)) is None
    assert path.stat().st_size == 65_536 + 128 * RECORD
    file.close()
