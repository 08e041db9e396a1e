"""What a check is, and how a list of them becomes verdicts.

Owns the order of judging: a check whose ground has failed is skipped, not failed, so that one mistake of a server is
one line of the report. Pure. Invariant: each selected check gets exactly one verdict.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from proxy.verify.seen import Fail, Seen, Skip

Severity = Literal["must", "should"]
Outcome = Literal["pass", "fail", "skip"]
Judge = Callable[[Seen], None]


@dataclass(frozen=True, slots=True)
class Check:
    """A promise, the questions it needs asked, the checks that must hold before it means anything, and its judge.

    A judge returns where the promise is kept, raises `Fail` with the evidence where not, `Skip` where it cannot tell.
    """

    id: str
    promise: str
    judge: Judge
    asks: tuple[str, ...]
    after: tuple[str, ...]
    severity: Severity


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of one check; `evidence` is empty where it passed."""

    id: str
    promise: str
    severity: Severity
    outcome: Outcome
    evidence: str


def check(
    id: str, promise: str, asks: tuple[str, ...], after: tuple[str, ...] = (), severity: Severity = "must"
) -> Callable[[Judge], Check]:
    """Make a Check of the function below."""
    return lambda judge: Check(id, promise, judge, asks, after, severity)


def selected(checks: Iterable[Check], only: Iterable[str] | None) -> list[Check]:
    """The checks named by id or by the part of it before the dot. Raises `ValueError` for a name that is neither."""
    checks = list(checks)
    if only is None:
        return checks
    wanted = list(only)
    for name in wanted:
        if not any(_named(item, name) for item in checks):
            raise ValueError(f"no check {name!r}")
    return [item for item in checks if any(_named(item, name) for name in wanted)]


def _named(item: Check, name: str) -> bool:
    return item.id == name or item.id.startswith(f"{name}.")


def needed(checks: Iterable[Check], every: Iterable[Check]) -> list[Check]:
    """The checks and all that they stand on, in the order of `every`."""
    known = {item.id: item for item in every}
    waiting, ids = [item.id for item in checks], set()
    while waiting:
        name = waiting.pop()
        if name not in ids:
            ids.add(name)
            waiting += known[name].after
    return [item for item in known.values() if item.id in ids]


def judge(checks: Iterable[Check], seen: Seen) -> list[Verdict]:
    """A verdict for each check; those that others stand on must come before them."""
    done: dict[str, Verdict] = {}
    for item in checks:
        done[item.id] = _verdict(item, seen, done)
    return list(done.values())


def _verdict(item: Check, seen: Seen, done: dict[str, Verdict]) -> Verdict:
    unmet = next((name for name in item.after if done[name].outcome != "pass"), None)
    outcome: Outcome = "pass"
    evidence = ""
    try:
        if unmet is not None:
            raise Skip(f"not judged: {unmet} did not pass")
        item.judge(seen)
    except Skip as skip:
        outcome, evidence = "skip", str(skip)
    except Fail as fail:
        outcome, evidence = "fail", str(fail)
    return Verdict(item.id, item.promise, item.severity, outcome, evidence)
