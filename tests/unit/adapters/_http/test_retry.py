"""When a request may go out a second time without anybody knowing."""

import pytest

from adapters._http.errors import TransportError
from adapters._http.retry import WINDOW_S, stale


@pytest.mark.parametrize(
    ("method", "kind", "started", "after_s", "again"),
    [
        ("POST", "reset", False, 0.01, True),
        ("POST", "reset", False, WINDOW_S + 0.1, False),  # it may have been working on it
        ("GET", "reset", False, 60.0, True),
        ("DELETE", "reset", False, 60.0, True),
        ("POST", "reset", True, 0.01, False),
        ("GET", "reset", True, 0.01, False),
        ("POST", "premature_eof", True, 0.01, False),
        ("POST", "first_byte_timeout", False, 0.01, False),
        ("POST", "closed", False, 0.01, False),
        ("POST", "protocol", False, 0.01, False),
    ],
)
def test_the_rule(method: str, kind: str, started: bool, after_s: float, again: bool) -> None:
    """A reset before any answer, and soon, unless the method may be repeated."""
    error = TransportError(kind, "x", sent=True, response_started=started)  # type: ignore[arg-type]
    assert stale(method, error, after_s) is again
