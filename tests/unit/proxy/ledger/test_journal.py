"""What must outlive the process."""

import os
from pathlib import Path

import pytest

from proxy.ledger.journal import MAGIC, MARK, ROW, Journal, JournalFull, estates, lags, over


def dies(journal: Journal) -> None:
    journal.drop()


def heir(folder: Path) -> tuple[list[bytes], list[bytes], set[str]]:
    (estate,) = estates(folder)
    estate.close(settled=True)
    assert estates(folder) == []
    return estate.marks, estate.rows, estate.never


def test_marks_and_rows_are_inherited(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.write(MARK, "a", b"mark a")
    journal.write(ROW, "b", b"row b")
    journal.write(MARK, "c", b"mark c")
    journal.forget("c")
    assert estates(tmp_path) == []  # its owner lives
    dies(journal)
    assert heir(tmp_path) == ([b"mark a", b"mark c"], [b"row b"], {"c"})


def test_whatever_is_torn_at_the_end_is_left_out(tmp_path: Path) -> None:
    for cut in range(1, 30):
        journal = Journal(tmp_path, 4096)
        journal.write(MARK, "a", b"first")
        end = journal._at
        journal.write(MARK, "b", b"second, of which only a part was written")
        os.pwrite(journal._fd, bytes(4096 - end - cut), end + cut)
        dies(journal)
        assert heir(tmp_path)[0] == [b"first"]


def test_it_turns_over_and_keeps_what_is_live(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 1 << 14)
    journal.write(MARK, "stays", b"stays " + b"x" * 100)
    for number in range(5000):
        journal.write(MARK, f"n{number}", b"%d" % number)
        journal.done(f"n{number}")
        if number % 100 == 0:
            assert journal.live == 1
    journal.write(ROW, "late", b"late")
    dies(journal)
    marks, rows, _ = heir(tmp_path)
    assert any(mark.startswith(b"stays") for mark in marks)
    assert rows == [b"late"]
    assert b"4999" in marks


def test_it_says_when_it_is_full_and_goes_on_when_it_is_not(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 4096)
    taken = 0

    def fill() -> None:
        nonlocal taken
        while taken < 1000:
            journal.write(MARK, f"n{taken}", b"x" * 40)
            taken += 1

    with pytest.raises(JournalFull):
        fill()
    assert 20 < taken < 100
    for number in range(taken):
        journal.done(f"n{number}")
    journal.write(MARK, "next", b"next")
    dies(journal)
    marks, _, _ = heir(tmp_path)
    assert b"next" in marks


def test_its_room_is_reserved(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 1 << 16)
    assert journal.path.stat().st_blocks * 512 >= 2 << 16
    assert journal.path.stat().st_mode & 0o777 == 0o600
    journal.close()
    journal.close()
    assert list(tmp_path.iterdir()) == []


def test_what_is_open_at_the_end_stays(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 4096)
    journal.write(MARK, "a", b"mark")
    journal.close()
    assert heir(tmp_path)[0] == [b"mark"]


def test_it_says_which_rows_the_database_does_not_have(tmp_path: Path) -> None:
    journal, other = Journal(tmp_path, 4096), Journal(tmp_path, 4096)
    assert lags(tmp_path) == []
    journal.write(MARK, "a", b"mark")
    journal.write(ROW, "a", b"row")
    journal.write(ROW, "b", b"row")
    assert lags(tmp_path, but=journal.path) == []
    waiting = lags(tmp_path, but=other.path)
    assert [lag.put for lag in waiting] == [2]
    journal.took(1)
    journal.write(ROW, "c", b"another, after somebody asked")
    assert over(waiting) == waiting
    journal.took(1)
    assert over(waiting) == []
    assert [lag.put for lag in lags(tmp_path)] == [3], "that one is still missing"
    journal.took(1)
    journal.close()
    other.close()


def test_nobody_waits_for_rows_that_the_database_does_not_take(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 4096)
    journal.write(ROW, "a", b"row")
    waiting = lags(tmp_path)
    assert over(waiting) == waiting
    journal.stuck(True)
    assert over(waiting) == []
    dies(journal)
    (estate,) = estates(tmp_path)
    assert over(waiting) == waiting, "its heir is at it"
    estate.close(settled=True)
    assert over(waiting) == []


def test_rows_that_were_taken_are_not_carried_on(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 1 << 14)
    for number in range(2000):
        journal.write(MARK, f"n{number}", b"mark %d" % number)
        journal.write(ROW, f"n{number}", b"row %d" % number)
        if number % 10 == 9:
            journal.took(10)
            assert journal.live == 0
    journal.write(ROW, "late", b"late")
    dies(journal)
    _, rows, _ = heir(tmp_path)
    assert b"late" in rows
    assert len(rows) < 1000


def test_what_another_version_wrote_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "1-a.journal").write_bytes(b"\1" * 100)
    (tmp_path / "2-b.journal").write_bytes(MAGIC[:-1] + b"9" + bytes(100))
    (tmp_path / "3-c.journal").write_bytes(b"")  # its process died before it had any room
    found = estates(tmp_path)
    assert [(estate.path.name[0], estate.foreign, estate.rows) for estate in found] == [
        ("1", True, []),
        ("2", True, []),
        ("3", False, []),
    ]
    for estate in found:
        estate.close(settled=not estate.foreign)
    assert sorted(file.name[0] for file in tmp_path.iterdir()) == ["1", "2"]
    assert (tmp_path / "1-a.journal").read_bytes() == b"\1" * 100
    assert lags(tmp_path) == []
