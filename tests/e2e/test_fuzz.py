"""A thousand bodies that nobody should send, to both prefixes of a running gateway: an answer in the right envelope with a
request id, never a 5xx, never a hang.
"""

import http.client
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes.evil import EvilThread
from fakes.gateway import Gateway
from proxy.wire.chat import KNOWN

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
good_message = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "system", "assistant"]), "content": st.text(max_size=9)}
)
message = (
    good_message
    | st.dictionaries(st.sampled_from(["role", "content", "name", "tool_calls"]), json_values)
    | json_values
)
models = (
    st.sampled_from(["m", "default", "up/any", "up/a\r\nset-cookie: x", "m:strip_thinking_response=true", "m:a=b"])
    | st.text()
)
near = st.fixed_dictionaries(
    {
        "model": models | json_values,
        "messages": st.lists(good_message, min_size=1, max_size=2) | st.lists(message, max_size=2),
    },
    optional=dict.fromkeys(sorted(KNOWN - {"model", "messages"}), json_values),
)
odd_keys = st.dictionaries(st.text(max_size=8) | st.just("x\r\ny: z"), json_values, max_size=2)
structured = st.builds(lambda a, b: json.dumps({**b, **a}).encode(), near, odd_keys)
mostly_good = st.builds(
    lambda key, value, odd: json.dumps(
        {**odd, "model": "m", "messages": [{"role": "user", "content": "hi"}], key: value}
    ).encode(),
    st.sampled_from(sorted(KNOWN - {"model", "messages"})),
    json_values,
    odd_keys,
)
deep = st.builds(
    lambda n: b'{"model":"m","messages":' + b"[" * n + b"]" * n + b"}", st.sampled_from([50, 900, 5000, 100_000])
)
bodies = (
    structured | mostly_good | deep | st.binary(max_size=80) | st.builds(lambda v: json.dumps(v).encode(), json_values)
)
encodings = st.sampled_from([None] * 8 + ["gzip", "br", "deflate", "gzip, br", "nonsense"])


def asked(gate: Gateway, path: str, body: bytes, encoding: str | None) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", gate.port, timeout=10)
    try:
        headers = {"content-type": "application/json"} | ({"content-encoding": encoding} if encoding else {})
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def check(prefix: str, answer: http.client.HTTPResponse, body: bytes) -> None:
    assert answer.headers["x-request-id"].startswith("req_")
    assert answer.headers["set-cookie"] is None
    assert answer.headers["y"] is None
    assert answer.status < 500, body
    if answer.status == 200:
        if answer.headers["content-type"].startswith("text/event-stream"):
            assert body.endswith(b"data: [DONE]\n\n") or b'data: {"error":{' in body
        else:
            assert json.loads(body)["object"] == "chat.completion"
        return
    said: Any = json.loads(body)["error"]
    if prefix == "/v1":
        assert set(said) >= {"message", "type", "param", "code"}
        assert isinstance(said["message"], str)
    else:
        assert isinstance(said, str)


@pytest.mark.parametrize("prefix", ["/v1", "/api/v1"])
def test_bodies(gate: Gateway, mock: EvilThread, prefix: str) -> None:
    seen: dict[int, int] = {}

    @settings(
        deadline=None, derandomize=True, database=None, max_examples=500,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )  # fmt: skip
    @given(bodies, encodings)
    def one(body: bytes, encoding: str | None) -> None:
        answer, said = asked(gate, f"{prefix}/chat/completions", body, encoding)
        check(prefix, answer, said)
        seen[answer.status] = seen.get(answer.status, 0) + 1

    one()
    assert sum(seen.values()) >= 500
    assert seen.get(200), "some of them are good enough to be answered"
    assert seen.get(400)
    assert gate.app.stays.gate.running == 0
