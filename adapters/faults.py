"""What went wrong on the wire to an upstream → UpstreamError. One table, for every adapter.

`accepted` decides whether another attempt may be made: False only where nothing was sent, or where leaving the connection
cancels the work there (first-byte timeouts: the configuration's `retry_on = ["timeout"]` means those too).
"""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from adapters._http import HttpResponse, TransportError
from proxy.errors import Fault, UpstreamError

# kind of TransportError: (fault, what it says)
_KINDS: dict[str, tuple[Fault, str]] = {
    "connect": (Fault.CONNECT, "could not be reached"),
    "connect_timeout": (Fault.CONNECT, "could not be reached in time"),
    "tls": (Fault.CONNECT, "could not be reached securely: its certificate or TLS failed"),
    "pool_timeout": (Fault.OVERLOADED, "has all its connections in use"),
    "first_byte_timeout": (Fault.TIMEOUT, "did not begin to answer in time; a streamed call shows progress earlier"),
    "between_bytes_timeout": (Fault.TIMEOUT, "fell silent in the middle of its answer"),
    "total_timeout": (Fault.TIMEOUT, "did not finish its answer in time; a streamed call shows progress earlier"),
    "reset": (Fault.CUT, "closed the connection before it answered"),
    "premature_eof": (Fault.CUT, "ended its answer before it was complete"),
    "protocol": (Fault.MALFORMED, "sent what is not HTTP"),
    "too_large": (Fault.MALFORMED, "sent an answer that is too large"),
    "closed": (Fault.CUT, "was closed"),
    "request": (Fault.REFUSED, "cannot be sent this request: it does not fit into HTTP"),
}


def transport_fault(error: TransportError, upstream: str) -> UpstreamError:
    """A TransportError → UpstreamError, told in terms of the upstream's name."""
    fault, said = _KINDS[error.kind]
    accepted: bool | None = None if error.sent else False
    if error.response_started:
        accepted = True
        said = "broke off in the middle of its answer" if error.kind == "reset" else said
    elif error.kind == "first_byte_timeout":
        accepted = False
    return UpstreamError(fault, f"The upstream {upstream!r} {said}.", accepted=accepted)


def retry_after_s(response: HttpResponse, *, now: datetime | None = None) -> float | None:
    """`retry-after-ms`, or `retry-after` in seconds or as a date → seconds; None if it says nothing useful."""
    if (ms := _number(response.headers.get("retry-after-ms"))) is not None:
        return ms / 1000
    value = response.headers.get("retry-after")
    if value is None:
        return None
    if (seconds := _number(value)) is not None:
        return seconds
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (when - (now or datetime.now(UTC))).total_seconds())


def _number(value: str | None) -> float | None:
    try:
        number = float(value) if value is not None else None
    except ValueError:
        return None
    return number if number is not None and 0 <= number < 1e9 else None
