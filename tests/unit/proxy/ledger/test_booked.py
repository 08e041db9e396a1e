"""What an heir makes of a journal: a row for each call, and only one."""

from pathlib import Path

import msgspec
import pytest

from proxy.call import Operation
from proxy.ledger.booked import rows_of
from proxy.ledger.journal import MARK, ROW, Estate, Journal, estates
from proxy.ledger.plain import Facts, Said, Terms
from proxy.ledger.row import Mark, Row

FACTS: Facts = (1.0, 1.5, 1.1, 3.25, 10, 5, 4, 2, 900)
TERMS = Terms(Said("k", Operation.CHAT, "m", False, "u", "t", "v", None))
encode = msgspec.msgpack.encode


def estate(journal: Journal, folder: Path) -> Estate:
    journal.drop()  # as the kernel does when a process is killed
    (found,) = estates(folder)
    return found


def test_records_and_the_board(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 1 << 14)
    for name in ("plain", "other", "open", "gone", "forgotten"):
        assert journal.board.enter(name, 7, TERMS)
    assert journal.end("plain", FACTS) is not None
    other = Row("other", "k", "chat", "m", "u", "t", 7, 8, "cancelled")
    journal.write(ROW, "other", encode(other))
    journal.forget("forgotten")
    journal.done("gone")
    journal.write(MARK, "marked", encode(Mark("marked", "k", "chat", "m", "u", "t", 9)))
    journal.write(MARK, "never", encode(Mark("never", "k", "chat", "m", "u", "t", 9)))
    journal.forget("never")
    rows = rows_of(estate(journal, tmp_path), 1000)
    assert {name: row.ending for name, row in rows.items()} == {
        "plain": "finished",
        "other": "cancelled",
        "open": "interrupted",
        "marked": "interrupted",
    }
    assert (rows["plain"].completion_tokens, rows["open"].settled_us) == (5, 1000)


def test_a_row_that_was_written_beside_its_place_counts_once(tmp_path: Path) -> None:
    """Killed after the record and before the place was given back."""
    journal = Journal(tmp_path, 1 << 14)
    assert journal.board.enter("c", 7, TERMS)
    journal.board.leave = lambda call_id: None  # type: ignore[method-assign]
    journal.write(ROW, "c", encode(Row("c", "k", "chat", "m", "u", "t", 7, 8, "failed")))
    rows = rows_of(estate(journal, tmp_path), 1000)
    assert [row.ending for row in rows.values()] == ["failed"]


def test_what_another_version_wrote_is_an_error(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 1 << 14)
    journal._map[:8] = b"tgjourn2"
    with pytest.raises(msgspec.DecodeError):
        rows_of(estate(journal, tmp_path), 1000)
