"""The report."""

import msgspec
import pytest

from proxy.verify import Report, Verdict

PASS = Verdict("a.one", "one holds", "must", "pass", "")
FAIL = Verdict("a.two", "two holds", "must", "fail", "b'\\x00'")
WARN = Verdict("b.three", "three should hold", "should", "fail", "none")
SKIP = Verdict("b.four", "four holds", "must", "skip", "no key")


@pytest.mark.parametrize(
    ("verdicts", "code"), [([], 0), ([PASS, SKIP], 0), ([PASS, WARN], 0), ([PASS, FAIL], 1), ([FAIL, WARN, SKIP], 1)]
)
def test_the_exit_code_is_1_where_a_promise_that_must_be_kept_was_not(verdicts: list[Verdict], code: int) -> None:
    assert Report("u", "m", verdicts, 0.1).exit_code == code


def test_the_table_shows_everything_and_the_evidence() -> None:
    text = Report("http://u/v1", "m", [PASS, FAIL, WARN, SKIP], 1.25).text()
    lines = text.splitlines()
    assert lines[0] == "http://u/v1  model m"
    assert "ok    a.one    one holds" in lines
    assert "FAIL  a.two    two holds" in lines
    assert lines[lines.index("FAIL  a.two    two holds") + 1].strip() == "-> b'\\x00'"
    assert "warn  b.three  three should hold" in lines
    assert "skip  b.four   four holds" in lines
    assert lines[-1] == "1 passed, 1 failed, 1 warned, 1 skipped in 1.2 s"


def test_the_json_has_the_same() -> None:
    whole = msgspec.json.decode(Report("u", "m", [PASS, FAIL, WARN, SKIP], 1.0).json())
    assert (whole["ok"], whole["counts"]) == (False, {"pass": 1, "fail": 2, "skip": 1})
    assert [verdict["id"] for verdict in whole["verdicts"]] == ["a.one", "a.two", "b.three", "b.four"]
    assert whole["verdicts"][1]["evidence"] == "b'\\x00'"
