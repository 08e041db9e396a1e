"""What a predictions API says: problems, and predictions in every state. Sans-IO.

A prediction is over only when its state says so; output before that is text so far. An unknown state is not an end.
"""

import re
from typing import Any

from adapters.accents import object_in
from adapters.job_pace import Look, Phase
from adapters.openai_api import failures
from proxy.errors import Fault, UpstreamError
from proxy.log import redact
from proxy.wire.body import encode

_PHASES = {
    "starting": Phase.QUEUED,
    "processing": Phase.RUNNING,
    "succeeded": Phase.DONE,
    "failed": Phase.FAILED,
    "canceled": Phase.CANCELED,
    "aborted": Phase.CANCELED,
}
_POLICY = re.compile(r"nsfw|sensitive|safety", re.IGNORECASE)
_MODEL = re.compile(r"invalid version|version does not exist", re.IGNORECASE)


def refusal(status: int, said: bytes, retry_after_s: float | None, upstream: str) -> UpstreamError:
    """A problem → UpstreamError. A version that does not exist is a 422 there, and our misconfiguration."""
    body = object_in(said)
    words = str(body.get("detail") or body.get("title") or "")
    meant = 404 if status == 422 and _MODEL.search(f"{body.get('title')} {words}") else status
    problem: dict[str, Any] = {"message": words.strip()}
    if fields := body.get("invalid_fields"):
        first = fields[0] if isinstance(fields, list) and fields and isinstance(fields[0], dict) else {}
        problem["param"] = str(first.get("field") or "").removeprefix("input.")
    error = failures.from_status(meant, encode({"error": problem}) if words else b"", retry_after_s, upstream)
    error.upstream_status = status
    if status >= 500:
        error.accepted = None
    return error


def look_of(body: dict[str, Any], upstream: str) -> Look:
    """A prediction → Look; its `body` keeps the output, the metrics and the reason of a failure."""
    status = body.get("status")
    if not isinstance(status, str):
        raise UpstreamError(Fault.MALFORMED, f"The upstream {upstream!r} sent no state of the job.", accepted=True)
    kept = {key: body.get(key) for key in ("output", "error", "data_removed", "metrics")}
    return Look(_PHASES.get(status, Phase.QUEUED), kept, text=text_of(body.get("output")))


def text_of(output: Any) -> str | None:
    """Texts join without anything between them; None for what is no text (yet)."""
    if isinstance(output, str):
        return output
    if isinstance(output, list) and all(isinstance(piece, str) for piece in output):
        return "".join(output)
    return None


def ended_badly(look: Look, upstream: str) -> UpstreamError:
    """A prediction that is over without a text → why."""
    body = look.body or {}
    if body.get("data_removed"):
        return UpstreamError(Fault.SERVER, f"The result expired on the upstream {upstream!r}.", accepted=True)
    if look.phase is Phase.FAILED:
        words = redact(str(body.get("error") or "no reason given"))
        fault = Fault.POLICY if _POLICY.search(words) else Fault.SERVER
        return UpstreamError(fault, f"The job failed on the upstream {upstream!r}: {words}", accepted=True)
    if look.phase is Phase.CANCELED:
        return UpstreamError(Fault.SERVER, f"The job was ended early on the upstream {upstream!r}.", accepted=True)
    return UpstreamError(Fault.MALFORMED, f"The upstream {upstream!r} gave an output that is no text.", accepted=True)
