"""Edges of the checks on heads."""

from typing import Any

import pytest


@pytest.mark.parametrize(
    ("value", "outcome"),
    [
        ("no-cache", "pass"),
        ("No-Cache, no-transform", "pass"),
        ("private, no-store", "pass"),
        ("max-age=60", "fail"),
        ("", "fail"),
    ],
)
def test_cache_control(desk: Any, value: str, outcome: str) -> None:
    desk.answer("stream", b"data: {}\n\n", "text/event-stream; charset=utf-8", cache_control=value)
    assert desk.verdict("stream.cache").outcome == outcome


def test_a_content_type_may_have_parameters(desk: Any) -> None:
    desk.answer("stream", b"", "Text/Event-Stream; charset=utf-8")
    assert desk.verdict("stream.type").outcome == "pass"
    desk.answer("plain", b"{}", "application/json; charset=utf-8")
    assert desk.verdict("plain.type").outcome == "pass"
    desk.answer("plain", b"{}", "application/problem+json")
    assert "application/problem+json" in desk.verdict("plain.type").evidence


def test_a_stream_of_the_optional_kinds_may_be_refused(desk: Any) -> None:
    desk.stream("stream", {"choices": []})
    desk.stream("stream_bare", {"choices": []})
    desk.json("stream_n", {"error": "n is not supported"}, 400)
    for id in ("stream.status", "stream.type", "stream.whole"):
        assert desk.verdict(id).outcome == "pass"
    assert desk.verdict("param.n").outcome == "skip"


def test_identity_may_be_said(desk: Any) -> None:
    desk.answer("plain", b"{}", content_encoding="identity")
    assert desk.verdict("http.identity").outcome == "pass"
    desk.answer("plain", b"{}", content_encoding="br")
    assert desk.verdict("http.identity").evidence == "plain: content-encoding: br"
