"""Schemathesis over the chat route, its document generated from the same types that decode requests: whatever it thinks
of, an answer is never a 5xx and always what the document allows.
"""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error

from fakes.evil import evil_thread
from fakes.gateway import Gateway, gateway, upstream
from proxy.wire.chat import ChatRequest


def document() -> dict[str, Any]:
    (reference,), parts = msgspec.json.schema_components([ChatRequest], ref_template="#/components/schemas/{name}")
    post = {
        "requestBody": {"required": True, "content": {"application/json": {"schema": reference}}},
        "responses": {str(status): {"description": "said"} for status in (200, 400, 404, 413, 415)},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "chat", "version": "1"},
        "paths": {f"{prefix}/chat/completions": {"post": post} for prefix in ("/v1", "/api/v1")},
        "components": {"schemas": parts},
    }


schema = schemathesis.openapi.from_dict(document())


@pytest.fixture(scope="module")
def gate() -> Iterator[Gateway]:
    with evil_thread(models=("*",)) as mock, gateway(upstream(mock.url)) as running:
        yield running


@schema.parametrize()
@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_chat(case: schemathesis.Case, gate: Gateway) -> None:
    if isinstance(case.body, dict):
        case.body["model"] = "m"  # past the first refusal, into the fields
    response = case.call(base_url=gate.origin)
    case.validate_response(response, checks=[not_a_server_error])
    assert response.status_code in (200, 400, 404, 413, 415)
    assert response.headers["x-request-id"][0].startswith("req_")
    if response.status_code >= 400:
        assert response.json()["error"]
