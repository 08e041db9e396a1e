"""Refusals by reason, and tasks in every state."""

import json
from typing import Any

import pytest

from adapters.job_pace import Look, Phase
from adapters.novita.reasons import ended_badly, look_of, refusal, task_of
from proxy.errors import Fault, UpstreamError


@pytest.mark.parametrize(
    ("status", "reason", "fault", "code"),
    [
        (403, "NOT_ENOUGH_BALANCE", Fault.BALANCE, "upstream_unavailable"),
        (400, "BILLING_BALANCE_NOT_ENOUGH", Fault.BALANCE, "upstream_unavailable"),
        (403, "INVALID_API_KEY", Fault.AUTH, "upstream_auth_failed"),
        (400, "MISSING_API_KEY", Fault.AUTH, "upstream_auth_failed"),
        (400, "ILLEGAL_PROMPT", Fault.POLICY, "content_policy_violation"),
        (400, "IMAGE_FILE_EXCEEDS_MAX_SIZE", Fault.TOO_LARGE, "request_too_large"),
        (400, "INVALID_REQUEST_BODY", Fault.REFUSED, "invalid_request"),
        (500, "CREATE_TASK_FAILED", Fault.SERVER, "upstream_error"),
    ],
)
def test_the_reason_counts(status: int, reason: str, fault: Fault, code: str) -> None:
    body = {"code": status, "reason": reason, "message": "words", "metadata": {}}
    error = refusal(status, json.dumps(body).encode(), 3.0, "up")
    assert (error.fault, error.code, error.upstream_status, error.retry_after_s) == (fault, code, status, 3.0)


@pytest.mark.parametrize(
    "body", [{"task_id": "t-1"}, {"code": 0, "msg": "", "data": {"task_id": "t-1"}}, {"code": None, "task_id": "t-1"}]
)
def test_both_shapes_of_a_new_task(body: dict[str, Any]) -> None:
    assert task_of(body, "up") == "t-1"


@pytest.mark.parametrize(
    ("body", "fault", "accepted"),
    [
        ({"code": 7, "msg": "create task failed", "data": None}, Fault.SERVER, False),
        ({"code": 429, "msg": "slow down", "data": None}, Fault.RATE_LIMITED, False),
        ({"code": 403, "reason": "NOT_ENOUGH_BALANCE", "message": "no"}, Fault.BALANCE, False),
        ({"data": {}}, Fault.MALFORMED, True),
        ({"task_id": 7}, Fault.MALFORMED, True),
    ],
)
def test_an_error_with_status_200(body: dict[str, Any], fault: Fault, accepted: bool) -> None:
    with pytest.raises(UpstreamError) as caught:
        task_of(body, "up")
    assert (caught.value.fault, caught.value.accepted) == (fault, accepted)


@pytest.mark.parametrize(
    ("status", "percent", "phase"),
    [
        ("TASK_STATUS_QUEUED", 0, Phase.QUEUED),
        ("TASK_STATUS_PROCESSING", 50, Phase.RUNNING),
        ("TASK_STATUS_SUCCEED", 0, Phase.DONE),
        ("TASK_STATUS_FAILED", 100, Phase.FAILED),
        ("TASK_STATUS_CANCELED", 0, Phase.CANCELED),
        ("TASK_STATUS_UNKNOWN", 100, Phase.QUEUED),
    ],
)
def test_states_and_no_percentage_is_an_end(status: str, percent: int, phase: Phase) -> None:
    look = look_of({"task": {"status": status, "progress_percent": percent, "reason": "x"}, "images": []}, "up")
    assert (look.phase, look.percent) == (phase, percent)


@pytest.mark.parametrize("body", [{}, {"task": None}, {"task": {"status": 1}}])
def test_what_is_no_state(body: dict[str, Any]) -> None:
    with pytest.raises(UpstreamError):
        look_of(body, "up")


@pytest.mark.parametrize(
    ("reason", "fault"),
    [
        ("NSFW content detected", Fault.POLICY),
        ("ILLEGAL_IMAGE_CONTENT", Fault.POLICY),
        ("BILLING_BALANCE_NOT_ENOUGH", Fault.BALANCE),
        ("INVALID_API_KEY", Fault.SERVER),
        ("out of memory", Fault.SERVER),
        ("", Fault.SERVER),
    ],
)
def test_why_a_task_failed(reason: str, fault: Fault) -> None:
    error = ended_badly(Look(Phase.FAILED, {"reason": reason}), "up")
    assert (error.fault, error.accepted) == (fault, True)


def test_a_task_that_was_ended() -> None:
    assert "ended early" in ended_badly(Look(Phase.CANCELED), "up").message
