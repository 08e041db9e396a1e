"""Five clocks, and how to say "never"."""

import math

import pytest

from adapters._http.timeouts import Timeouts, span


@pytest.mark.parametrize(("seconds", "length"), [(1.5, 1.5), (0, math.inf), (-1, math.inf), (math.inf, math.inf)])
def test_nothing_means_never(seconds: float, length: float) -> None:
    """0 and negatives are no clock at all."""
    assert span(seconds) == length


def test_timeouts_cannot_be_changed_under_a_running_call() -> None:
    """A client's clocks are shared by its calls."""
    with pytest.raises(AttributeError):
        Timeouts().total_s = 1.0  # type: ignore[misc]
