"""What an OpenAI-like upstream says when it fails → UpstreamError. Six shapes of body, and sentences that mean more than
their status. What it says is shown to the caller only redacted; its own 401, 402 and 404 are never the caller's.
"""

import re
from typing import Any

import msgspec

from proxy.errors import Fault, UpstreamError
from proxy.log import redact

_CONTEXT = re.compile(
    r"context.?length|maximum context|too many tokens|prompt is too long|exceeds the model's|max_seq_len|context window",
    re.IGNORECASE,
)
_POLICY = re.compile(r"content.?(policy|filter|management)|safety system|moderation", re.IGNORECASE)
_BALANCE = re.compile(
    r"insufficient.?(quota|balance|credit|funds)|not enough balance|payment required|billing", re.IGNORECASE
)
_LOADING = re.compile(r"\bloading\b|warming up|not ready", re.IGNORECASE)


class Said(msgspec.Struct):
    """What an error body says, whatever its shape."""

    message: str = ""
    type: str = ""
    code: str = ""
    param: str | None = None


def said(body: Any) -> Said | None:
    """A decoded body → what it says; None if it is no error.

    Shapes: `{"error": {...}}`, `{"error": "text"}`, `{"error": [...]}`, `{"detail": ...}` (FastAPI), flat
    `{"object": "error", "message": ...}` (older vLLM) and flat `{"code", "reason", "message"}` (Novita).
    """
    if not isinstance(body, dict):
        return None
    error = body.get("error")
    if isinstance(error, dict):
        return _from_object(error)
    if isinstance(error, str) and error:
        return Said(error, code=_text(body.get("code")))
    if isinstance(error, list) and error:
        return Said("; ".join(_text(e.get("message", e) if isinstance(e, dict) else e) for e in error))
    if "choices" in body or "data" in body:
        return None
    if body.get("detail"):
        detail = body["detail"]
        if isinstance(detail, list):
            detail = "; ".join(_text(d.get("msg", d) if isinstance(d, dict) else d) for d in detail)
        return Said(_text(detail))
    if body.get("object") == "error" or ("message" in body and ("code" in body or "type" in body or "reason" in body)):
        return _from_object(body)
    return None


def _from_object(error: dict[str, Any]) -> Said:
    inner = (
        error.get("message")
        or error.get("msg")
        or error.get("detail")
        or error.get("reason")
        or "an error without a text"
    )
    return Said(
        _text(inner),
        _text(error.get("type")),
        _text(error.get("reason") or error.get("code")),
        _text(error.get("param")) or None,
    )


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    try:
        return msgspec.json.encode(value).decode()
    except RecursionError:
        return "something that is no text"


def from_status(status: int, body: bytes, retry_after_s: float | None, upstream: str) -> UpstreamError:
    """An answer with an error status. The upstream says that it did not do it, so another may try."""
    try:
        found = said(msgspec.json.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = None
    if found is None:
        found = Said()  # HTML of a gateway in between, or nothing: nothing in it is for the caller
    fault = _fault(status, found)
    return UpstreamError(
        fault,
        _sentence(fault, found, upstream),
        accepted=False,
        upstream_status=status,
        retry_after_s=retry_after_s,
        param=found.param if fault in (Fault.REFUSED, Fault.CONTEXT, Fault.POLICY) else None,
    )


def from_event(found: Said, upstream: str) -> UpstreamError:
    """An error inside an answer whose status was 200."""
    status = int(found.code) if re.fullmatch("[45][0-9][0-9]", found.code) else None
    if status is None:
        by_type = {"invalid_request_error": 400, "rate_limit_error": 429, "overloaded_error": 503}
        status = by_type.get(found.type, 500)
    fault = _fault(status, found)
    return UpstreamError(fault, _sentence(fault, found, upstream), accepted=True, upstream_status=status)


def _fault(status: int, found: Said) -> Fault:
    text = f"{found.code} {found.type} {found.message}"
    if status in (400, 413, 422) and _CONTEXT.search(text):
        return Fault.CONTEXT
    if status in (400, 403, 422, 451) and (_POLICY.search(f"{found.code} {found.type}") or status == 451):
        return Fault.POLICY
    if status in (400, 402, 403, 429) and _BALANCE.search(f"{found.code} {found.type} {found.message}"):
        return Fault.BALANCE
    if status in (404, 500, 503) and _LOADING.search(found.message):
        return Fault.OVERLOADED
    return _BY_STATUS.get(status) or (
        Fault.MISSING if status < 400 else Fault.REFUSED if status < 500 else Fault.SERVER
    )


_BY_STATUS = {
    401: Fault.AUTH,
    402: Fault.BALANCE,
    403: Fault.AUTH,
    404: Fault.MISSING,
    405: Fault.MISSING,
    408: Fault.TIMEOUT,
    413: Fault.TOO_LARGE,
    429: Fault.RATE_LIMITED,
    501: Fault.UNSUPPORTED,
    503: Fault.OVERLOADED,
    504: Fault.TIMEOUT,
    529: Fault.OVERLOADED,
}

_OURS = {
    Fault.AUTH: "The upstream {0!r} does not accept the key configured for it.",
    Fault.BALANCE: "The account with the upstream {0!r} cannot pay for this call.",
    Fault.MISSING: "The upstream {0!r} does not have the configured model or route.",
    Fault.RATE_LIMITED: "The upstream {0!r} is limiting requests",
    Fault.OVERLOADED: "The upstream {0!r} is overloaded or loading the model",
    Fault.TIMEOUT: "The upstream {0!r} did not answer in time; a streamed call shows progress earlier",
    Fault.UNSUPPORTED: "The upstream {0!r} does not support this route",
}


def _sentence(fault: Fault, found: Said, upstream: str) -> str:
    """Ours for what is between us and the upstream; the upstream's own words, redacted, for what the caller can mend."""
    words = redact(found.message.strip())
    if fault in (Fault.AUTH, Fault.BALANCE, Fault.MISSING):
        return _OURS[fault].format(upstream)
    ours = _OURS.get(fault)
    if ours is not None:
        return f"{ours.format(upstream)}: {words}" if words else f"{ours.format(upstream)}."
    if fault in (Fault.REFUSED, Fault.CONTEXT, Fault.POLICY, Fault.TOO_LARGE):
        return words or f"The upstream {upstream!r} refused the request without saying why."
    return f"The upstream {upstream!r} failed: {words}" if words else f"The upstream {upstream!r} failed."
