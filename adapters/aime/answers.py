"""What an AIME server says: refusals in two shapes with statuses of its own meaning, progress, results. Sans-IO.

A progress body holds the worker's secret: only the named fields of it ever leave this module, so that nothing can log or
forward the rest.
"""

import re
from typing import Any

from adapters.accents import object_in
from adapters.job_pace import Look, Phase
from adapters.openai_api import failures
from proxy.errors import Fault, UpstreamError
from proxy.log import redact
from proxy.wire.body import encode

QUEUE_FULL_S = 5.0
_POLICY = re.compile(r"nsfw|safety checker", re.IGNORECASE)
_RESULT = (
    *("text", "num_generated_tokens", "prompt_length", "current_context_length", "max_seq_len", "error"),
    *("images", "seed", "audio_output", "compute_duration"),
)
_PHASES = {"processing": Phase.RUNNING, "done": Phase.DONE, "canceled": Phase.CANCELED, "lapsed": Phase.FAILED}


def words_of(body: dict[str, Any]) -> str:
    """`error` as a text or a list of texts, or the web server's own `message`."""
    error = body.get("error") or body.get("message") or ""
    return "; ".join(str(one) for one in error) if isinstance(error, list) else str(error)


def refusal(status: int, said: bytes, upstream: str) -> UpstreamError:
    """An answer that is no job. 402 is an unknown job and not money; a full queue is a 400."""
    words = words_of(object_in(said))
    meant, retry_after_s = status, None
    if "queue reached" in words:
        meant, retry_after_s = 503, QUEUE_FULL_S
    elif status == 402:
        meant = 404
    elif status < 400:
        meant = 401  # a login that failed, dressed as a success
    error = failures.from_status(meant, encode({"error": words}), retry_after_s, upstream)
    error.upstream_status = status
    if status >= 500 or status == 408:
        error.accepted = None
    return error


def look_of(status: int, said: bytes, upstream: str) -> Look:
    """One answer to a poll. Raises UpstreamError for what is no state of the job."""
    body = object_in(said)
    state = body.get("job_state")
    if status == 400 and state == "lapsed":
        return Look(Phase.FAILED, {"lapsed": True})
    if status == 402:
        return Look(Phase.FAILED, {"lost": True})
    if status != 200:
        raise refusal(status, said, upstream)
    if not isinstance(state, str):
        raise UpstreamError(Fault.MALFORMED, f"The upstream {upstream!r} sent no state of the job.", accepted=True)
    phase = _PHASES.get(state, Phase.QUEUED)  # an unknown state is not an end
    if phase is Phase.DONE:
        result = body.get("job_result")
        return Look(phase, {key: result[key] for key in _RESULT if key in result} if isinstance(result, dict) else None)
    if phase is Phase.FAILED:
        return Look(phase, {"lapsed": True})
    progress = body.get("progress")
    progress = progress if isinstance(progress, dict) else {}
    data = progress.get("progress_data")
    text = data.get("text") if isinstance(data, dict) else None
    return Look(
        phase,
        position=_int(progress.get("queue_position")) if phase is Phase.QUEUED else None,
        percent=_float(progress.get("progress")),
        text=text if isinstance(text, str) else None,
    )


def ended_badly(look: Look, upstream: str) -> UpstreamError:
    """A job that is over and has no result → why."""
    body = look.body or {}
    if body.get("lapsed"):
        said = f"The job lapsed on the upstream {upstream!r}: it waited too long, or its worker fell silent."
        return UpstreamError(Fault.TIMEOUT, said, accepted=True)
    if body.get("lost"):
        return UpstreamError(Fault.SERVER, f"The upstream {upstream!r} lost the job.", accepted=True)
    if look.phase is Phase.CANCELED:
        return UpstreamError(Fault.SERVER, f"The job was canceled on the upstream {upstream!r}.", accepted=True)
    if error := body.get("error"):
        said = f"A worker of the upstream {upstream!r} failed: {redact(str(error))}"
        return UpstreamError(Fault.POLICY if _POLICY.search(said) else Fault.SERVER, said, accepted=True)
    return UpstreamError(
        Fault.CUT, f"The upstream {upstream!r} finished the job and did not give its result.", accepted=True
    )


def _int(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _float(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
