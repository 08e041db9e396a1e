"""The document as it is served; and on each of its paths HEAD, OPTIONS and methods that are not there, over real sockets."""

import http.client
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from fakes.offline import Offline, offline
from routes._openapi.document import document

PATHS: dict[str, Any] = document()["paths"]
NAMES = {"model_id": "demo", "request_id": "req_none", "upstream": "offline"}


def path(template: str) -> str:
    return template.format(**NAMES)


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Offline]:
    with offline(tmp_path_factory.mktemp("offline")) as running:
        yield running


@pytest.fixture
def line(gate: Offline) -> Iterator[http.client.HTTPConnection]:
    """One connection, kept: what a wrong length of a body would spoil."""
    connection = http.client.HTTPConnection("127.0.0.1", gate.port, timeout=10)
    try:
        yield connection
    finally:
        connection.close()


def ask(line: http.client.HTTPConnection, method: str, target: str, **headers: str) -> http.client.HTTPResponse:
    line.request(method, target, headers=headers)
    return line.getresponse()


def test_the_document_is_served_to_anybody(gate: Offline) -> None:
    told = httpx.get(gate.origin + "/openapi.json")
    assert told.json() == json.loads(json.dumps(document()))
    assert told.headers["content-type"] == "application/json"
    assert told.headers["content-encoding"] in ("br", "gzip")


def test_the_page_asks_nobody_for_anything(gate: Offline) -> None:
    page = httpx.get(gate.origin + "/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert all(f"<code>{one}</code>" in page.text for one in PATHS)


@pytest.mark.parametrize("template", [one for one, item in PATHS.items() if "get" in item])
def test_head_is_get_without_its_body(gate: Offline, line: http.client.HTTPConnection, template: str) -> None:
    target = path(template)
    whole = ask(line, "GET", target, **gate.headers)
    body = whole.read()
    head = ask(line, "HEAD", target, **gate.headers)
    assert head.read() == b""
    assert (head.status, head.headers["content-type"]) == (whole.status, whole.headers["content-type"])
    assert head.headers["x-request-id"].startswith("req_")
    if template not in ("/metrics", "/health"):
        assert head.headers["content-length"] == str(len(body))
    assert ask(line, "GET", "/livez").read() == b'{"status":"ok"}'


def test_head_asks_for_a_key_as_get_does(gate: Offline, line: http.client.HTTPConnection) -> None:
    assert ask(line, "HEAD", "/v1/characters").status == 401


@pytest.mark.parametrize("template", PATHS)
def test_options_tells_the_methods_to_anybody(line: http.client.HTTPConnection, template: str) -> None:
    methods = {method.upper() for method in PATHS[template]}
    told = ask(line, "OPTIONS", path(template))
    assert (told.status, told.read()) == (200, b"")
    assert set(told.headers["allow"].split(", ")) == methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())


@pytest.mark.parametrize("template", PATHS)
def test_other_methods_are_told_which_there_are(line: http.client.HTTPConnection, template: str) -> None:
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - {method.upper() for method in PATHS[template]}:
        told = ask(line, method, path(template))
        body = json.loads(told.read())
        assert told.status == 405
        assert "OPTIONS" in told.headers["allow"]
        assert isinstance(body["error"], str if template.startswith("/api/") else dict)


def test_no_web_page_of_elsewhere_may_read_an_answer(line: http.client.HTTPConnection) -> None:
    """No CORS: a browser keeps answers from pages of other origins, and does not send what needs asking first."""
    told = ask(line, "OPTIONS", "/v1/chat/completions", origin="https://elsewhere.example", **{
        "access-control-request-method": "POST", "access-control-request-headers": "authorization, content-type"
    })  # fmt: skip
    told.read()
    read = ask(line, "GET", "/v1/models", origin="https://elsewhere.example")
    read.read()
    for answer in (told, read):
        assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


def test_what_a_page_of_elsewhere_can_send_is_refused(gate: Offline) -> None:
    """A form, plain text, or a blob without a type need no asking first: none of them makes a key or a chat."""
    origin = {"origin": "https://elsewhere.example"}
    with gate.client() as client:
        for target in ("/v1/api_keys", "/v1/chat/completions", "/admin/models/delete"):
            for headers in (origin, {**origin, "content-type": "text/plain"}):
                request = client.build_request("POST", target, content=b"{}", headers=headers)
                assert client.send(request).status_code == 415
