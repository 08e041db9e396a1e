"""The one retry that nobody sees.

Owns the rule by which a request is sent a second time on another connection; refuses to know sockets. Invariant: only a
connection that had served before, and that gave up without one byte of a response, can have been closed for being idle.
"""

from adapters._http.errors import TransportError

IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"})
# A server that closes an idle connection while we write on it does so within a round trip. A connection that dies later
# than this may well have been working on the request, which only an idempotent one survives.
WINDOW_S = 1.0


def stale(method: str, error: TransportError, after_s: float) -> bool:
    """Whether `error`, `after_s` seconds after a request was written on a *reused* connection, may be tried again."""
    if error.kind != "reset" or error.response_started:
        return False
    return method in IDEMPOTENT or after_s <= WINDOW_S
