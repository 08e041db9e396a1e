"""Edges of the checks on refusals."""

from typing import Any

import pytest


def refusal(**fields: Any) -> dict[str, Any]:
    return {"error": {"message": "no", "type": "invalid_request_error", "param": None, "code": None, **fields}}


@pytest.mark.parametrize(
    "fields",
    [{"message": ""}, {"message": None}, {"message": {"a": 1}}, {"type": None}, {"code": 400}, {"param": ["x"]}],
)
def test_the_four_keys_are_text(desk: Any, fields: dict[str, Any]) -> None:
    desk.json("no_route", refusal(), 404)
    assert desk.verdict("error.envelope").outcome == "pass"
    desk.json("no_route", refusal(**fields), 404)
    assert desk.verdict("error.envelope").outcome == "fail"


@pytest.mark.parametrize(
    ("status", "kind", "outcome"),
    [
        (400, "invalid_request_error", "pass"),
        (400, "server_error", "fail"),
        (500, "server_error", "pass"),
        (500, "invalid_request_error", "fail"),
        (429, "rate_limit_error", "pass"),
        (429, "server_error", "fail"),
        (401, "authentication_error", "pass"),
        (404, "anything", "pass"),
    ],
)
def test_the_type_fits(desk: Any, status: int, kind: str, outcome: str) -> None:
    desk.json("no_route", refusal(type=kind), status)
    assert desk.verdict("error.type").outcome == outcome


def test_extra_keys_are_no_harm(desk: Any) -> None:
    desk.json("no_route", refusal(details={"a": 1}), 404)
    assert desk.verdict("error.envelope").outcome == "pass"


def test_nothing_refused_is_nothing_to_judge(desk: Any) -> None:
    desk.json("no_route", {}, 200)
    assert desk.verdict("error.envelope").outcome == "skip"
    assert desk.verdict("error.route").outcome == "fail"
