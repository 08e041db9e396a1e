"""The one exception tree. It knows statuses and codes, not how they are rendered (`routes/_errors.py` does that).

TraghettoError
├── RequestError                  4xx: the caller can mend it
│   ├── BadRequest                400 invalid_request
│   │   ├── UnsupportedParameter  400 unsupported_parameter
│   │   ├── ContextExceeded       400 context_length_exceeded
│   │   └── ContentRefused        400 content_policy_violation
│   ├── KeyInvalid                401 invalid_api_key
│   ├── BudgetSpent               402 insufficient_quota
│   ├── PermissionDenied          403 permission_denied
│   ├── NotFound                  404 not_found
│   │   └── ModelUnknown          404 model_not_found
│   ├── MethodNotAllowed          405 method_not_allowed
│   ├── Conflict                  409 conflict
│   ├── BodyTooLarge              413 request_too_large
│   ├── MediaUnsupported          415 unsupported_media_type
│   ├── HeadTooLarge              431 request_head_too_large
│   └── RateExceeded              429 rate_limit_exceeded
├── ServiceError                  5xx: the caller cannot mend it
│   ├── Internal                  500 internal_error
│   ├── NotSupported              501 not_supported
│   ├── Unavailable               503 service_unavailable (draining, queue full, no target left)
│   └── UpstreamError             by its Fault: see FAULTS
├── ConfigError                   the configuration is wrong: exit 78
└── ClientGone                    499, in logs only: nobody is left to read an answer
"""

from enum import StrEnum
from typing import Any


class TraghettoError(Exception):
    """Anything that Traghetto says no with. `message` is safe to show to the caller: no secret, no URL of an upstream."""

    status: int = 500
    type: str = "server_error"
    code: str = "internal_error"

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_s: float | None = None,
        details: dict[str, Any] | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code or type(self).code
        self.retry_after_s = retry_after_s
        self.details = details
        self.headers = headers

    @property
    def should_retry(self) -> bool | None:
        """What `x-should-retry` says; None leaves the decision to the client's habits."""
        return None


class RequestError(TraghettoError):
    """The request is at fault; sending it again unchanged cannot help (a RateExceeded apart)."""

    status = 400
    type = "invalid_request_error"
    code = "invalid_request"


class BadRequest(RequestError):
    """The body, a field or a query parameter is not what the route takes."""


class UnsupportedParameter(BadRequest):
    """A parameter that would change the meaning of the answer and that no target of the model can honour."""

    code = "unsupported_parameter"


class ContextExceeded(BadRequest):
    """The prompt (and what is to be generated) does not fit the model's context."""

    code = "context_length_exceeded"


class ContentRefused(BadRequest):
    """The upstream's content policy refused the request."""

    code = "content_policy_violation"


class KeyInvalid(RequestError):
    """No key, an unknown one, an expired or a revoked one: always about the caller's own key."""

    status = 401
    type = "authentication_error"
    code = "invalid_api_key"


class BudgetSpent(RequestError):
    """The caller's own budget does not cover the worst case of this call."""

    status = 402
    type = "insufficient_quota"
    code = "insufficient_quota"

    @property
    def should_retry(self) -> bool | None:
        return False


class PermissionDenied(RequestError):
    """The key is good and may not do this."""

    status = 403
    type = "permission_error"
    code = "permission_denied"


class NotFound(RequestError):
    """No such route or object."""

    status = 404
    code = "not_found"


class ModelUnknown(NotFound):
    """No model, trait, mapping or upstream model answers to this name."""

    code = "model_not_found"


class MethodNotAllowed(RequestError):
    """The route exists and does not take this method."""

    status = 405
    code = "method_not_allowed"


class Conflict(RequestError):
    """The request contradicts the state of what it names."""

    status = 409
    code = "conflict"


class BodyTooLarge(RequestError):
    """The body is larger than the server or the route takes."""

    status = 413
    code = "request_too_large"


class MediaUnsupported(RequestError):
    """The content type or encoding of the body is not one the route takes."""

    status = 415
    code = "unsupported_media_type"


class HeadTooLarge(RequestError):
    """The request line and headers are larger than the server takes."""

    status = 431
    code = "request_head_too_large"


class RateExceeded(RequestError):
    """A token bucket is empty; `retry_after_s` is when a retry passes."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"

    def __init__(self, message: str, *, never: bool = False, **more: Any) -> None:
        super().__init__(message, **more)
        self.never = never  # this call needs more than the bucket holds when it is full

    @property
    def should_retry(self) -> bool | None:
        return False if self.never else None


class ServiceError(TraghettoError):
    """Our side or an upstream is at fault."""


class Internal(ServiceError):
    """A bug of ours. The message never carries the cause; the log does, under the same request id."""


class NotSupported(ServiceError):
    """The whole route is impossible on every target of the model."""

    status = 501
    code = "not_supported"

    @property
    def should_retry(self) -> bool | None:
        return False


class Unavailable(ServiceError):
    """Nobody can serve it now; `retry_after_s` says when to ask again."""

    status = 503
    code = "service_unavailable"

    def __init__(self, message: str, **more: Any) -> None:
        more.setdefault("retry_after_s", 5.0)
        super().__init__(message, **more)


class Fault(StrEnum):
    """What kind of failure an upstream's is. `FAULTS` says what each becomes for the caller."""

    CONNECT = "connect"  # nothing was sent
    TIMEOUT = "timeout"  # no answer in time
    RATE_LIMITED = "rate_limited"  # the upstream's own 429
    OVERLOADED = "overloaded"  # 503, queue full, model loading or offline
    AUTH = "auth"  # our key for the upstream is bad
    BALANCE = "balance"  # our balance with the upstream is spent
    MISSING = "missing"  # a configured model or route that the upstream does not have
    SERVER = "server"  # 5xx
    MALFORMED = "malformed"  # an answer that is not what the dialect says
    CUT = "cut"  # the answer ended before its end
    REFUSED = "refused"  # 400, 422: the request itself
    CONTEXT = "context"  # the prompt is too long for the model
    POLICY = "policy"  # content policy
    TOO_LARGE = "too_large"  # 413
    UNSUPPORTED = "unsupported"  # the upstream's kind cannot do this at all


# fault: (status, type, code, is the target to blame?)
FAULTS: dict[Fault, tuple[int, str, str, bool]] = {
    Fault.CONNECT: (502, "server_error", "upstream_error", True),
    Fault.TIMEOUT: (504, "server_error", "upstream_timeout", True),
    Fault.RATE_LIMITED: (429, "rate_limit_error", "upstream_rate_limited", False),
    Fault.OVERLOADED: (503, "server_error", "upstream_unavailable", True),
    Fault.AUTH: (502, "server_error", "upstream_auth_failed", True),
    Fault.BALANCE: (503, "server_error", "upstream_unavailable", True),
    Fault.MISSING: (502, "server_error", "upstream_error", False),
    Fault.SERVER: (502, "server_error", "upstream_error", True),
    Fault.MALFORMED: (502, "server_error", "upstream_error", True),
    Fault.CUT: (502, "server_error", "upstream_error", True),
    Fault.REFUSED: (400, "invalid_request_error", "invalid_request", False),
    Fault.CONTEXT: (400, "invalid_request_error", "context_length_exceeded", False),
    Fault.POLICY: (400, "invalid_request_error", "content_policy_violation", False),
    Fault.TOO_LARGE: (413, "invalid_request_error", "request_too_large", False),
    Fault.UNSUPPORTED: (501, "server_error", "not_supported", False),
}


class UpstreamError(ServiceError):
    """An upstream did not do it.

    `accepted` is whether the upstream can have started work: False (certainly not), True, or None (unknown). Only
    False allows another attempt, since a second create would be a second charge. `upstream_status` is what it answered.
    """

    def __init__(
        self,
        fault: Fault,
        message: str,
        *,
        accepted: bool | None = None,
        upstream_status: int | None = None,
        **more: Any,
    ) -> None:
        super().__init__(message, **more)
        self.fault = fault
        self.accepted = accepted
        self.upstream_status = upstream_status
        self.exhausted = False  # we tried more than once already
        self.status, self.type, code, self.blames_target = FAULTS[fault]
        self.code = more.get("code") or code

    @property
    def should_retry(self) -> bool | None:
        """Say no where a client's retry would start the same work a second time."""
        return False if self.exhausted or (self.status >= 500 and self.accepted is not False) else None


class ConfigError(TraghettoError):
    """The configuration is wrong. `where` is the key path, `expected` what should stand there; the message is one line."""

    code = "bad_configuration"

    def __init__(self, message: str, *, file: str = "", where: str = "", expected: str = "") -> None:
        self.what, self.file, self.where, self.expected = message, file, where, expected
        parts = [p for p in (file, where) if p]
        line = ": ".join([*parts, message])
        super().__init__(f"{line} (expected {expected})" if expected else line)

    def placed(self, file: str, where: str) -> "ConfigError":
        """The same mistake, told by one who knows the file and the table that it is in."""
        inner = f"{where}.{self.where}" if self.where else where
        return ConfigError(self.what, file=file, where=inner, expected=self.expected)


class ClientGone(TraghettoError):
    """The caller left before its answer was complete. For the log and the ledger; nobody reads a response."""

    status = 499
    type = "invalid_request_error"
    code = "client_closed_request"
