"""What every test may rely on."""

import sys

import pytest

RECURSION_LIMIT = sys.getrecursionlimit()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """The interpreter's own bound, as it was: generators of data raise it, and one that stays raised lets tests of
    endless recursion run into the end of the C stack."""
    del item
    sys.setrecursionlimit(RECURSION_LIMIT)
