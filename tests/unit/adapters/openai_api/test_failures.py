"""Six shapes of error body × statuses, and the sentences that mean more than their status."""

import json
from typing import Any

import pytest

from adapters.openai_api.failures import Said, from_event, from_status, said
from proxy.errors import FAULTS, Fault

SHAPES: dict[str, Any] = {
    "object": {"error": {"message": "boom", "type": "t", "code": "c", "param": None}},
    "text": {"error": "boom"},
    "list": {"error": [{"message": "boom"}]},
    "detail": {"detail": "boom"},
    "details": {"detail": [{"loc": ["body"], "msg": "boom"}]},
    "flat": {"object": "error", "message": "boom", "type": "t", "code": 400},
    "novita": {"code": 400, "reason": "R", "message": "boom", "metadata": {}},
}
STATUSES = {
    400: Fault.REFUSED,
    401: Fault.AUTH,
    402: Fault.BALANCE,
    403: Fault.AUTH,
    404: Fault.MISSING,
    405: Fault.MISSING,
    408: Fault.TIMEOUT,
    413: Fault.TOO_LARGE,
    418: Fault.REFUSED,
    422: Fault.REFUSED,
    429: Fault.RATE_LIMITED,
    500: Fault.SERVER,
    501: Fault.UNSUPPORTED,
    502: Fault.SERVER,
    503: Fault.OVERLOADED,
    504: Fault.TIMEOUT,
    529: Fault.OVERLOADED,
    302: Fault.MISSING,
}
SILENT = (Fault.AUTH, Fault.BALANCE, Fault.MISSING)  # between us and the upstream: its words are not the caller's


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("shape", SHAPES)
def test_shape_and_status(shape: str, status: int) -> None:
    error = from_status(status, json.dumps(SHAPES[shape]).encode(), 3.0, "up")
    assert error.fault is STATUSES[status]
    assert (error.status, error.type) == FAULTS[error.fault][:2]
    assert ("boom" in error.message) is (error.fault not in SILENT)
    assert error.upstream_status == status
    assert error.retry_after_s == 3.0
    assert error.accepted is False


@pytest.mark.parametrize("body", [b"", b"<html>boom</html>", b"\xff\xfe", b"[" * 200_000, b"null", b'{"a":1}'])
def test_bodies_that_say_nothing(body: bytes) -> None:
    error = from_status(500, body, None, "up")
    assert error.fault is Fault.SERVER
    assert error.message == "The upstream 'up' failed."


@pytest.mark.parametrize(
    ("status", "error", "fault"),
    [
        (400, {"message": "This model's maximum context length is 10 tokens"}, Fault.CONTEXT),
        (413, {"message": "prompt is too long"}, Fault.CONTEXT),
        (400, {"message": "x", "code": "content_policy_violation"}, Fault.POLICY),
        (451, {"message": "x"}, Fault.POLICY),
        (429, {"message": "x", "code": "insufficient_quota"}, Fault.BALANCE),
        (403, {"message": "x", "code": "NOT_ENOUGH_BALANCE", "type": "insufficient balance"}, Fault.BALANCE),
        (500, {"message": "Model is loading"}, Fault.OVERLOADED),
        (404, {"message": "model is warming up"}, Fault.OVERLOADED),
        (400, {"message": "the word context alone"}, Fault.REFUSED),
    ],
)
def test_sentences_that_mean_more(status: int, error: dict[str, str], fault: Fault) -> None:
    assert from_status(status, json.dumps({"error": error}).encode(), None, "up").fault is fault


def test_param_only_where_the_caller_can_mend_it() -> None:
    body = json.dumps({"error": {"message": "m", "param": "temperature"}}).encode()
    assert from_status(400, body, None, "up").param == "temperature"
    assert from_status(500, body, None, "up").param is None


def test_secrets_never_pass() -> None:
    body = json.dumps({"error": {"message": "bad key sk-abcdef123456 at https://x.internal/v1?token=abc"}}).encode()
    message = from_status(400, body, None, "up").message
    assert "abcdef123456" not in message
    assert "token=abc" not in message


@pytest.mark.parametrize(
    ("found", "status"),
    [
        (Said("m", "rate_limit_error"), 429),
        (Said("m", "invalid_request_error"), 400),
        (Said("m", "", "503"), 503),
        (Said("m", "", "200"), 502),
        (Said("m", "", "²"), 502),
        (Said("m", "", "9" * 5000), 502),
        (Said("m"), 502),
    ],
)
def test_errors_inside_a_good_status(found: Said, status: int) -> None:
    error = from_event(found, "up")
    assert error.status == status
    assert error.accepted is True


@pytest.mark.parametrize(
    "body", [None, [], "x", {}, {"choices": [], "detail": "x"}, {"data": []}, {"message": "hello"}]
)
def test_no_error(body: Any) -> None:
    assert said(body) is None


def test_a_number_that_does_not_fit_is_no_crash() -> None:
    found = said({"error": {"message": 2**70, "code": 2**70}})
    assert found is not None
    assert found.message
