"""Requests and the answers to them, without a socket."""

import gzip
from pathlib import Path
from typing import Any

import msgspec
import pytest

from proxy.mock.answers import Backend
from proxy.mock.faults import ERROR_SHAPES, STATUSES, Fault, fault
from proxy.mock.journal import Exchange
from proxy.mock.options import MockOptions
from proxy.mock.script import Script
from proxy.mock.transcript import Answer

CHAT = {"model": "mock-chat", "messages": [{"role": "user", "content": "hi"}]}


def asked(
    path: str = "/v1/chat/completions",
    body: Any = CHAT,
    method: str = "POST",
    script: Script | Fault | None = None,
    headers: dict[str, str] | None = None,
    **options: Any,
) -> Answer:
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    lines = list({"content-type": "application/json", **(headers or {})}.items())
    script = Script(faults=(script,)) if isinstance(script, Fault) else script or Script()
    return Backend(MockOptions(**options)).answer(Exchange(1, 1, method, path, lines, raw), script)


def header(answer: Answer, name: str) -> str | None:
    return dict(answer.headers).get(name)


def error(answer: Answer) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(b"".join(answer.pieces))["error"]
    return found


@pytest.mark.parametrize(
    ("what", "status", "code"),
    [
        ({"path": "/v1/nowhere"}, 404, "unknown_url"),
        ({"path": "/chat/completions"}, 404, "unknown_url"),
        ({"method": "GET"}, 405, "method_not_allowed"),
        ({"path": "/v1/models", "method": "POST"}, 405, "method_not_allowed"),
        ({"headers": {"content-type": "text/plain"}}, 415, "unsupported_media_type"),
        ({"body": b"{"}, 400, "invalid_json"),
        ({"body": {**CHAT, "model": "unknown"}}, 404, "model_not_found"),
        ({"body": {**CHAT, "model": "mock-embedding"}}, 404, "model_not_found"),
        ({"path": "/v1/models/unknown", "method": "GET"}, 404, "model_not_found"),
        ({"api_key": "k"}, 401, "invalid_api_key"),
        ({"api_key": "k", "headers": {"authorization": "Bearer wrong"}}, 401, "invalid_api_key"),
        ({"api_key": "k", "headers": {"authorization": "k"}}, 401, "invalid_api_key"),
        ({"max_body": 10}, 413, "request_too_large"),
        ({"body": {**CHAT, "top_k": 1}, "unknown_fields": False}, 400, None),
    ],
)
def test_what_a_strict_server_refuses_is_refused(what: dict[str, Any], status: int, code: str | None) -> None:
    answer = asked(**what)
    assert (answer.status, error(answer)["code"]) == (status, code)
    assert header(answer, "x-request-id") == "req_mock_1"
    # … whatever is scripted: a fault must not hide a mistake of the client.
    assert asked(**what, script=fault("ok_error")).status == status


def test_the_right_key_is_accepted_in_whatever_header_is_wanted() -> None:
    assert asked(api_key="k", headers={"authorization": "Bearer k"}).status == 200
    options = {"api_key": "k", "auth_header": "x-key", "auth_prefix": ""}
    assert asked(headers={"x-key": "k"}, **options).status == 200
    assert asked(headers={"authorization": "Bearer k"}, **options).status == 401


@pytest.mark.parametrize("path", ["/v1/models/mock-org%2Fmock-large", "/v1/models/mock-org/mock-large"])
def test_a_model_with_a_slash_is_found_either_way(path: str) -> None:
    assert msgspec.json.decode(asked(path, b"", "GET").pieces[0])["id"] == "mock-org/mock-large"


def test_any_model_where_any_is_wanted() -> None:
    assert asked(body={**CHAT, "model": "whatever"}, models=("*",)).status == 200
    assert msgspec.json.decode(asked("/v1/models", b"", "GET", models=("*", "m")).pieces[0])["data"][0]["id"] == "m"


def test_a_stream_is_asked_for_in_the_body() -> None:
    answer = asked(body={**CHAT, "stream": True}, ttft=0.1, pace=0.2)
    assert (answer.chunked, answer.ttft, answer.pace) == (True, 0.1, 0.2)
    assert header(answer, "content-type") == "text/event-stream; charset=utf-8"
    assert answer.pieces[-1] == b"data: [DONE]\n\n"


def test_a_legacy_completion_streams_too() -> None:
    body = {"model": "mock-chat", "prompt": "hi", "stream": True}
    first = asked("/v1/completions", body).pieces[0]
    assert msgspec.json.decode(first.removeprefix(b"data: "))["object"] == "text_completion"


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("shape", ERROR_SHAPES)
def test_any_status_in_any_shape(status: int, shape: str) -> None:
    answer = asked(script=fault("status", status=status, shape=shape, retry_after="9", should_retry="false"))
    assert answer.status == status
    assert (header(answer, "retry-after"), header(answer, "x-should-retry")) == ("9", "false")
    assert str(status).encode() in answer.pieces[0]


@pytest.mark.parametrize("retry_after", ["", "1", "Fri, 31 Dec 1999 23:59:59 GMT"])
def test_a_limit_with_and_without_retry_after(retry_after: str) -> None:
    answer = asked(script=fault("rate_limit", retry_after=retry_after))
    assert (answer.status, header(answer, "retry-after")) == (429, retry_after or None)


def test_a_stream_request_can_get_json() -> None:
    body = {**CHAT, "stream": True}
    whole = asked(body=body, script=fault("ok_json"))
    assert (whole.status, whole.chunked) == (200, False)
    assert msgspec.json.decode(whole.pieces[0])["object"] == "chat.completion"
    bad = asked(body=body, script=fault("ok_error", shape="list"))
    assert (bad.status, header(bad, "content-type"), header(bad, "cache-control")) == (200, "application/json", None)
    assert isinstance(msgspec.json.decode(bad.pieces[0]), list)


def test_stream_options_can_be_refused() -> None:
    refuse = fault("refuse_stream_options")
    assert asked(body={**CHAT, "stream": True}, script=refuse).status == 200
    answer = asked(body={**CHAT, "stream": True, "stream_options": {"include_usage": True}}, script=refuse)
    assert (answer.status, error(answer)["param"]) == (400, "stream_options")


def test_gzip_keeps_the_pieces_apart_and_the_content() -> None:
    body = {**CHAT, "stream": True}
    clean, packed = asked(body=body), asked(body=body, script=fault("gzip"))
    assert header(packed, "content-encoding") == "gzip"
    assert len(packed.pieces) == len(clean.pieces) + 1
    assert gzip.decompress(b"".join(packed.pieces)) == b"".join(clean.pieces)


def test_heads_can_be_spoilt() -> None:
    assert header(asked(script=fault("no_type")), "content-type") is None
    assert header(asked(script=fault("wrong_type")), "content-type") == "text/html; charset=utf-8"
    assert header(asked(script=fault("no_request_id")), "x-request-id") is None
    huge = asked(script=fault("huge_headers", size=50_000, lines=5))
    assert sum(len(value) for _, value in huge.headers) > 50_000
    moved = asked(script=fault("redirect", location="/elsewhere"))
    assert (moved.status, header(moved, "location"), moved.pieces) == (307, "/elsewhere", [b""])


def test_garbage_is_the_same_for_the_same_seed() -> None:
    noise = fault("garbage", size=64)
    assert asked(script=noise, seed=1).pieces == asked(script=noise, seed=1).pieces
    assert asked(script=noise, seed=1).pieces != asked(script=noise, seed=2).pieces
    assert asked(script=fault("empty")).pieces == []


def test_refusals_can_be_spoilt() -> None:
    bad = {"body": {**CHAT, "model": "unknown"}}
    assert asked(**bad, script=fault("refusal_status", status=500)).status == 500
    assert error(asked(**bad, script=fault("refusal_type", type="odd")))["type"] == "odd"
    assert isinstance(error(asked(**bad, script=fault("refusal_shape"))), str)


def test_a_script_can_give_every_byte() -> None:
    answer = asked(script=Script(body="{}", status=202, headers={"Content-Type": "text/odd", "x-a": "b"}))
    assert (answer.status, answer.pieces, header(answer, "content-type")) == (202, [b"{}"], "text/odd")
    assert header(answer, "x-a") == "b"
    answer = asked(script=Script(frames=("data: 1\n\n", "data: \udcff\n\n"), faults=(fault("crlf"),)))
    assert answer.pieces == [b"data: 1\r\n\r\n", b"data: \xff\r\n\r\n"]
    assert answer.chunked


def test_a_recording_is_played_back(tmp_path: Path) -> None:
    (tmp_path / "one.sse").write_bytes(b'data: {"a":1}\n\ndata: [DONE]\n\n')
    (tmp_path / "two.json").write_bytes(b'{"a": 1}')
    (tmp_path.parent / "secret.json").write_bytes(b"{}")
    folder = {"recordings": str(tmp_path)}
    stream = asked(script=Script(recording="one.sse", faults=(fault("no_done"),)), **folder)
    assert (stream.pieces, stream.chunked) == ([b'data: {"a":1}\n\n'], True)
    assert asked(script=Script(recording="two.json"), **folder).pieces == [b'{"a": 1}']
    for name in ("three.sse", "../secret.json"):
        assert asked(script=Script(recording=name), **folder).status == 500
