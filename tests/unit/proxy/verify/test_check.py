"""How checks become verdicts."""

import pytest

from proxy.verify.check import Check, check, judge, needed, selected
from proxy.verify.seen import Fail, Seen, Skip


def make(id: str, *after: str, error: Exception | None = None) -> Check:
    def body(_: Seen) -> None:
        if error is not None:
            raise error

    return check(id, f"promise of {id}", ("plain",), after)(body)


CHECKS = [
    make("a.good"),
    make("a.bad", error=Fail("bytes")),
    make("b.unsure", error=Skip("why")),
    make("b.upon-good", "a.good"),
    make("b.upon-bad", "a.bad"),
    make("c.upon-that", "b.upon-bad", error=Fail("never reached")),
    make("c.upon-unsure", "b.unsure"),
]


def test_each_check_gets_one_verdict_and_what_stands_on_nothing_is_skipped() -> None:
    verdicts = judge(CHECKS, Seen("m"))
    assert [(verdict.id, verdict.outcome, verdict.evidence) for verdict in verdicts] == [
        ("a.good", "pass", ""),
        ("a.bad", "fail", "bytes"),
        ("b.unsure", "skip", "why"),
        ("b.upon-good", "pass", ""),
        ("b.upon-bad", "skip", "not judged: a.bad did not pass"),
        ("c.upon-that", "skip", "not judged: b.upon-bad did not pass"),
        ("c.upon-unsure", "skip", "not judged: b.unsure did not pass"),
    ]


def test_a_mistake_in_a_judge_is_not_taken_for_a_verdict() -> None:
    with pytest.raises(ZeroDivisionError):
        judge([make("a", error=ZeroDivisionError())], Seen("m"))


@pytest.mark.parametrize(
    ("only", "ids"),
    [(["b"], ["b.unsure", "b.upon-good", "b.upon-bad"]), (["a.bad", "c.upon-that"], ["a.bad", "c.upon-that"])],
)
def test_checks_are_chosen_by_id_or_group(only: list[str], ids: list[str]) -> None:
    assert [item.id for item in selected(CHECKS, only)] == ids
    assert selected(CHECKS, None) == CHECKS


@pytest.mark.parametrize("name", ["x", "a.", "b.up", "a.good."])
def test_a_name_that_fits_nothing_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no check"):
        selected(CHECKS, [name])


def test_grounds_come_along_in_order() -> None:
    assert [item.id for item in needed([CHECKS[5]], CHECKS)] == ["a.bad", "b.upon-bad", "c.upon-that"]
