"""What Novita's refusals and tasks mean: errors go by `reason`, since the status is no guide. Sans-IO.

An empty wallet is a 403 or a 400, a wrong key a 403; an error may come with status 200 and a `code` that is not 0.
"""

import re
from typing import Any

from adapters.accents import object_in
from adapters.job_pace import Look, Phase
from adapters.openai_api import failures
from proxy.errors import Fault, UpstreamError
from proxy.log import redact
from proxy.wire.body import encode

REASONS: dict[str, Fault] = {
    "INVALID_API_KEY": Fault.AUTH,
    "MISSING_API_KEY": Fault.AUTH,
    "FAILED_TO_AUTH": Fault.AUTH,
    "ACCESS_DENY": Fault.AUTH,
    "BILLING_AUTH_FAILED": Fault.AUTH,
    "FEATURE_NOT_ALLOWED": Fault.AUTH,
    "API_NOT_ALLOWED": Fault.AUTH,
    "NEED_REAL_NAME_VERIFY": Fault.AUTH,
    "NOT_ENOUGH_BALANCE": Fault.BALANCE,
    "BILLING_BALANCE_NOT_ENOUGH": Fault.BALANCE,
    "BILLING_FAILED": Fault.BALANCE,
    "MODEL_NOT_FOUND": Fault.MISSING,
    "API_NOT_FOUND": Fault.MISSING,
    "TASK_NOT_FOUND": Fault.MISSING,
    "RATE_LIMIT_EXCEEDED": Fault.RATE_LIMITED,
    "TOKEN_LIMIT_EXCEEDED": Fault.RATE_LIMITED,
    "SERVICE_NOT_AVAILABLE": Fault.OVERLOADED,
    "ILLEGAL_PROMPT": Fault.POLICY,
    "ILLEGAL_IMAGE_CONTENT": Fault.POLICY,
    "IMAGE_FILE_EXCEEDS_MAX_SIZE": Fault.TOO_LARGE,
}
# A status that stands for each fault, for the sentences of the dialect.
_STATUS = {
    Fault.AUTH: 401,
    Fault.BALANCE: 402,
    Fault.MISSING: 404,
    Fault.RATE_LIMITED: 429,
    Fault.OVERLOADED: 503,
    Fault.POLICY: 451,
    Fault.TOO_LARGE: 413,
}
_PHASES = {
    "TASK_STATUS_QUEUED": Phase.QUEUED,
    "TASK_STATUS_PROCESSING": Phase.RUNNING,
    "TASK_STATUS_SUCCEED": Phase.DONE,
    "TASK_STATUS_FAILED": Phase.FAILED,
    "TASK_STATUS_CANCELED": Phase.CANCELED,
}
_POLICY = re.compile(r"nsfw|illegal|sensitive|safety|inappropriate", re.IGNORECASE)


def refusal(status: int, said: bytes, retry_after_s: float | None, upstream: str) -> UpstreamError:
    """An answer with an error status → what it means."""
    reason = str(object_in(said).get("reason"))
    fault = REASONS.get(reason)
    error = failures.from_status(_STATUS[fault] if fault else status, said, retry_after_s, upstream)
    error.upstream_status = status
    return error


def task_of(body: dict[str, Any], upstream: str) -> str:
    """The id of a new task, in either shape of the answer. Raises UpstreamError for an error that came with status 200."""
    code = body.get("code", 0)
    if code not in (0, None):
        status = code if isinstance(code, int) and 400 <= code < 600 else 500
        words = {"code": status, "reason": body.get("reason"), "message": body.get("message") or body.get("msg")}
        raise refusal(status, encode(words), None, upstream)
    data = body.get("data")
    identity = (data if isinstance(data, dict) else body).get("task_id")
    if not isinstance(identity, str) or not identity:
        raise UpstreamError(Fault.MALFORMED, f"The upstream {upstream!r} gave no id for the job.", accepted=True)
    return identity


def look_of(body: dict[str, Any], upstream: str) -> Look:
    """A task as it stands. An unknown state is not an end, and no percentage is one either."""
    task = body.get("task")
    status = task.get("status") if isinstance(task, dict) else None
    if not isinstance(task, dict) or not isinstance(status, str):
        raise UpstreamError(Fault.MALFORMED, f"The upstream {upstream!r} sent no state of the job.", accepted=True)
    phase = _PHASES.get(status, Phase.QUEUED)
    kept = {key: body.get(key) for key in ("images", "extra")} | {"reason": task.get("reason")}
    percent = task.get("progress_percent")
    return Look(phase, kept, percent=float(percent) if isinstance(percent, (int, float)) else None)


def ended_badly(look: Look, upstream: str) -> UpstreamError:
    """A task that is over and made nothing → why."""
    if look.phase is Phase.CANCELED:
        return UpstreamError(Fault.SERVER, f"The job was ended early on the upstream {upstream!r}.", accepted=True)
    words = redact(str((look.body or {}).get("reason") or "no reason given"))
    fault = REASONS.get(words, Fault.POLICY if _POLICY.search(words) else Fault.SERVER)
    if fault not in (Fault.POLICY, Fault.BALANCE):
        fault = Fault.SERVER
    return UpstreamError(fault, f"The job failed on the upstream {upstream!r}: {words}", accepted=True)
