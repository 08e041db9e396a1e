"""The one renderer of errors: three envelopes, chosen by the path. Everything that is not a 2xx goes through here.

OpenAI     {"error": {"message", "type", "param", "code"}}                    under /v1
Venice     {"error": "text", "code": "…", "details": {…}}                     under /api/v1
Anthropic  {"type": "error", "error": {"type", "message"}, "request_id"}      on …/messages
"""

import math
from typing import Any

from proxy import NAME
from proxy.call import Dialect
from proxy.errors import TraghettoError
from proxy.stream import error_object
from proxy.wire.body import encode

# Our codes in the words of Venice's documentation; what it has no word for keeps ours, in its spelling.
_VENICE = {
    "invalid_api_key": "AUTHENTICATION_FAILED",
    "invalid_request": "INVALID_REQUEST",
    "unknown_parameter": "INVALID_REQUEST",
    "permission_denied": "UNAUTHORIZED",
    "model_not_found": "MODEL_NOT_FOUND",
    "character_not_found": "CHARACTER_NOT_FOUND",
    "unsupported_media_type": "INVALID_CONTENT_TYPE",
    "insufficient_quota": "INSUFFICIENT_BALANCE",
    "rate_limit_exceeded": "RATE_LIMIT_EXCEEDED",
    "upstream_rate_limited": "MODEL_OVERLOADED",
    "upstream_unavailable": "MODEL_OFFLINE",
    "upstream_timeout": "REQUEST_TIMEOUT",
    "upstream_error": "INFERENCE_FAILED",
    "internal_error": "UNKNOWN_ERROR",
    "request_too_large": "INVALID_FILE_SIZE",
    "invalid_image_format": "INVALID_IMAGE_FORMAT",
    "corrupted_image": "CORRUPTED_IMAGE",
}
_ANTHROPIC = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


def dialect_of(path: str) -> Dialect:
    """Whose envelope a path wears, also where no route matches it."""
    if path.startswith("/api/"):
        return Dialect.VENICE
    if "/messages" in path:
        return Dialect.ANTHROPIC
    return Dialect.OPENAI


def body_of(error: TraghettoError, dialect: Dialect, request_id: str) -> dict[str, Any]:
    """The envelope, as an object."""
    if dialect is Dialect.VENICE:
        body: dict[str, Any] = {"error": error.message, "code": _VENICE.get(error.code, error.code.upper())}
        if error.param:
            body["param"] = error.param
        if error.details:
            body["details"] = error.details
        return body
    if dialect is Dialect.ANTHROPIC:
        kind = _ANTHROPIC.get(error.status, "api_error" if error.status >= 500 else "invalid_request_error")
        return {"type": "error", "error": {"type": kind, "message": error.message}, "request_id": request_id}
    return error_object(error)


def headers_of(error: TraghettoError) -> list[tuple[str, str]]:
    """`Retry-After` on 429 and 503 always; `x-should-retry` where we know better than a client's habit."""
    headers = [("x-traghetto-src", NAME), *error.headers]
    wait = error.retry_after_s
    if wait is None and error.status in (429, 503):
        wait = 1.0 if error.status == 429 else 5.0
    if wait is not None and error.status in (408, 429, 500, 502, 503, 504):
        headers.append(("retry-after", str(max(1, math.ceil(wait)))))
        headers.append(("retry-after-ms", str(max(1, math.ceil(wait * 1000)))))
    if error.should_retry is not None:
        headers.append(("x-should-retry", "true" if error.should_retry else "false"))
    if error.status == 401:
        headers.append(("www-authenticate", "Bearer"))
    return headers


def rendered(error: TraghettoError, dialect: Dialect, request_id: str) -> tuple[int, list[tuple[str, str]], bytes]:
    """Status, headers and body."""
    return error.status, headers_of(error), encode(body_of(error, dialect, request_id))
