"""What went wrong on the wire: every kind has its fault, and only what cannot have started work may be tried again."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any, get_args

import pytest

from adapters._http import Headers, TransportError
from adapters._http.errors import Kind
from adapters.faults import retry_after_s, transport_fault
from proxy.errors import Fault

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize("kind", get_args(Kind))
def test_every_kind_is_told_by_the_upstreams_name_alone(kind: Any) -> None:
    error = transport_fault(TransportError(kind, "10.0.0.7:8443 secret"), "up")
    assert error.message.startswith("The upstream 'up' ")
    assert "10.0.0.7" not in error.message
    assert error.accepted is False


@pytest.mark.parametrize(
    ("kind", "sent", "started", "fault", "accepted"),
    [
        ("connect", False, False, Fault.CONNECT, False),
        ("pool_timeout", False, False, Fault.OVERLOADED, False),
        ("first_byte_timeout", True, False, Fault.TIMEOUT, False),
        ("between_bytes_timeout", True, True, Fault.TIMEOUT, True),
        ("total_timeout", True, False, Fault.TIMEOUT, None),
        ("reset", True, False, Fault.CUT, None),
        ("reset", True, True, Fault.CUT, True),
        ("premature_eof", True, True, Fault.CUT, True),
        ("protocol", True, True, Fault.MALFORMED, True),
        ("request", False, False, Fault.REFUSED, False),
    ],
)
def test_faults(kind: Any, sent: bool, started: bool, fault: Fault, accepted: bool | None) -> None:
    error = transport_fault(TransportError(kind, "x", sent=sent, response_started=started), "up")
    assert (error.fault, error.accepted) == (fault, accepted)


def test_a_reset_says_when_it_came() -> None:
    said = [transport_fault(TransportError("reset", "x", response_started=s), "up").message for s in (False, True)]
    assert "before it answered" in said[0]
    assert "in the middle" in said[1]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3),
        ({"Retry-After": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9),
        ({"retry-after": format_datetime(NOW + timedelta(seconds=7), usegmt=True)}, 7),
        ({"retry-after": format_datetime(NOW.replace(tzinfo=None) + timedelta(seconds=7))}, 7),
        ({"retry-after": format_datetime(NOW - timedelta(days=1), usegmt=True)}, 0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "1e12"}, None),
        ({"retry-after": "tomorrow"}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    response: Any = SimpleNamespace(headers=Headers([(k.encode(), v.encode()) for k, v in headers.items()]))
    assert retry_after_s(response, now=NOW) == seconds
