"""What an AIME server says, read."""

import json
from typing import Any

import pytest

from adapters.aime.answers import ended_badly, look_of, refusal
from adapters.job_pace import Look, Phase
from proxy.errors import Fault, UpstreamError

SECRET = "worker-secret-77aa1c"


def raw(**body: Any) -> bytes:
    return json.dumps(body).encode()


@pytest.mark.parametrize(
    ("status", "body", "fault", "accepted"),
    [
        (200, {"success": False, "error": "Key not valid"}, Fault.AUTH, False),
        (401, {"success": False, "error": ["Key not valid"]}, Fault.AUTH, False),
        (402, {"success": False, "error": ["Client has no active request"]}, Fault.MISSING, False),
        (400, {"success": False, "error": "Job queue reached max length 20!"}, Fault.OVERLOADED, False),
        (400, {"success": False, "error": ["a is odd", "b too"]}, Fault.REFUSED, False),
        (404, {"description": "Not Found", "message": "Requested URL /x not found"}, Fault.MISSING, False),
        (500, {"message": "oops"}, Fault.SERVER, None),
    ],
)
def test_refusals(status: int, body: dict[str, Any], fault: Fault, accepted: bool | None) -> None:
    error = refusal(status, json.dumps(body).encode(), "up")
    assert (error.fault, error.accepted, error.upstream_status) == (fault, accepted, status)


def test_a_full_queue_says_when_to_come_again() -> None:
    assert refusal(400, raw(error="Job queue reached max length 2!"), "up").retry_after_s == 5


def test_a_list_of_faults_is_told() -> None:
    assert refusal(400, raw(error=["a is odd", "b too"]), "up").message == "a is odd; b too"


def test_looks_hold_no_secret() -> None:
    progress = {"auth_key": SECRET, "progress": 50, "progress_data": {"text": "hi", "secret": SECRET}}
    under_way = look_of(200, raw(job_state="processing", progress=progress), "up")
    done = look_of(200, raw(job_state="done", job_result={"text": "hi", "auth_key": SECRET, "auth": "lab"}), "up")
    assert SECRET not in repr((under_way, done))
    assert (under_way.phase, under_way.text, under_way.percent) == (Phase.RUNNING, "hi", 50)
    assert done == Look(Phase.DONE, {"text": "hi"})


def test_a_queued_job_has_a_place() -> None:
    look = look_of(200, raw(job_state="queued", progress={"queue_position": 3, "progress": 0, "estimate": -1}), "up")
    assert (look.phase, look.position, look.over) == (Phase.QUEUED, 3, False)
    assert not look_of(200, raw(job_state="unknown"), "up").over


@pytest.mark.parametrize(
    ("status", "body", "fault"),
    [
        (400, {"job_state": "lapsed", "error": "x"}, Fault.TIMEOUT),
        (402, {"error": ["x"]}, Fault.SERVER),
        (200, {"job_state": "canceled"}, Fault.SERVER),
        (200, {"job_state": "done"}, Fault.CUT),
        (200, {"job_state": "done", "job_result": {"error": "CUDA out of memory"}}, Fault.SERVER),
    ],
)
def test_bad_ends(status: int, body: dict[str, Any], fault: Fault) -> None:
    look = look_of(status, json.dumps(body).encode(), "up")
    assert look.over
    error = ended_badly(look, "up")
    assert (error.fault, error.accepted) == (fault, True)


@pytest.mark.parametrize("said", [b"", b"<html>", b"[]", b"{}"])
def test_what_is_no_state_is_malformed(said: bytes) -> None:
    with pytest.raises(UpstreamError) as caught:
        look_of(200, said, "up")
    assert caught.value.fault is Fault.MALFORMED
