"""The engine's codes in the words of the exception tree."""

import pytest

from adapters.llama import faults, frames, spec
from proxy.errors import Fault


@pytest.mark.parametrize(
    ("code", "status", "accepted"),
    [
        (spec.REFUSED, 400, False),
        (spec.CONTEXT, 400, False),
        (spec.OVERLOADED, 503, False),
        (spec.RATE_LIMITED, 429, False),
        (spec.TIMEOUT, 504, True),
        (spec.SERVER, 502, True),
        (spec.UNSUPPORTED, 501, False),
        ("unheard-of", 502, True),
    ],
)
def test_codes(code: str, status: int, accepted: bool) -> None:
    error = faults.from_frame(frames.Error(1, code, "why", "n", 3.0, {"a": 1}))
    assert (error.status, error.accepted, error.param, error.retry_after_s) == (status, accepted, "n", 3.0)
    assert error.details == {"a": 1}


def test_a_crash_says_whether_anything_was_delivered() -> None:
    assert faults.crashed("x", delivered=True).fault is Fault.CUT
    assert faults.crashed("x", delivered=False).fault is Fault.SERVER
    assert faults.crashed("x", delivered=False).should_retry is False


def test_busy_says_when() -> None:
    assert faults.queue_full(7.0).retry_after_s == 7.0
    assert faults.quarantined("x", 0.0).retry_after_s == 1.0
