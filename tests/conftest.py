"""What every test may rely on."""

import sys
from collections.abc import Generator

import pytest

from fakes import canaries

RECURSION_LIMIT = sys.getrecursionlimit()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """The interpreter's own bound, as it was: generators of data raise it, and one that stays raised lets tests of
    endless recursion run into the end of the C stack."""
    del item
    sys.setrecursionlimit(RECURSION_LIMIT)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """No key of an upstream in whatever was printed or logged, by any test of the whole run."""
    report = yield
    told = canaries.seen(section for section in report.sections if section[0].endswith(report.when))
    if told and report.passed:
        report.outcome = "failed"
        report.longrepr = f"a key of an upstream is in: {', '.join(told)}"
    return report
