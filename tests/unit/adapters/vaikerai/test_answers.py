"""What a predictions API says, read."""

import json
from typing import Any

import pytest

from adapters.job_pace import Phase
from adapters.vaikerai.answers import ended_badly, look_of, refusal, text_of
from proxy.errors import Fault, UpstreamError


@pytest.mark.parametrize(
    ("status", "body", "fault", "accepted"),
    [
        (401, {"title": "Unauthenticated", "detail": "bad token"}, Fault.AUTH, False),
        (402, {"title": "Insufficient credit", "detail": "x"}, Fault.BALANCE, False),
        (422, {"title": "Invalid version or not permitted", "detail": "x"}, Fault.MISSING, False),
        (422, {"title": "Input validation failed", "detail": "- input.top_k: too high"}, Fault.REFUSED, False),
        (429, {"detail": "Request was throttled."}, Fault.RATE_LIMITED, False),
        (502, {}, Fault.SERVER, None),
    ],
)
def test_refusals(status: int, body: dict[str, Any], fault: Fault, accepted: bool | None) -> None:
    error = refusal(status, json.dumps(body).encode(), None, "up")
    assert (error.fault, error.accepted, error.upstream_status) == (fault, accepted, status)


def test_an_invalid_field_is_named() -> None:
    body = {"title": "Input validation failed", "detail": "no", "invalid_fields": [{"field": "input.top_k"}]}
    assert refusal(422, json.dumps(body).encode(), None, "up").param == "top_k"


@pytest.mark.parametrize(
    ("output", "text"), [(None, None), (["a", " b"], "a b"), ("x", "x"), ({"a": 1}, None), ([1], None), ([], "")]
)
def test_texts(output: Any, text: str | None) -> None:
    assert text_of(output) == text


def test_output_before_the_end_is_no_end() -> None:
    look = look_of({"status": "processing", "output": ["a"], "urls": {"get": "x"}}, "up")
    assert (look.phase, look.text, look.over) == (Phase.RUNNING, "a", False)
    assert not look_of({"status": "pondering"}, "up").over


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ({"status": "failed", "error": "E1001: out of memory"}, Fault.SERVER),
        ({"status": "failed", "error": "NSFW content detected"}, Fault.POLICY),
        ({"status": "canceled"}, Fault.SERVER),
        ({"status": "aborted"}, Fault.SERVER),
        ({"status": "succeeded", "data_removed": True}, Fault.SERVER),
        ({"status": "succeeded", "output": {"a": 1}}, Fault.MALFORMED),
    ],
)
def test_bad_ends(body: dict[str, Any], fault: Fault) -> None:
    look = look_of(body, "up")
    assert look.over
    assert ended_badly(look, "up").fault is fault


def test_no_state_is_malformed() -> None:
    with pytest.raises(UpstreamError) as caught:
        look_of({"id": "x"}, "up")
    assert caught.value.fault is Fault.MALFORMED
