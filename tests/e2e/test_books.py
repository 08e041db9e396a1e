"""What the ledger says of calls that went well, badly, elsewhere or half-way, asked of a running gateway."""

import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fakes.counting import Counting, counting
from fakes.gateway import Gateway, gateway
from proxy.ledger.usage import receipt

CHAT = {"messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture(scope="module")
def double() -> Iterator[Counting]:
    with counting() as running:
        yield running


@pytest.fixture(scope="module")
def gate(double: Counting, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder: Path = tmp_path_factory.mktemp("books")
    toml = f"""
[store]
url = "sqlite:///{folder}/t.db"
[upstreams.up]
kind = "openai"
base_url = "{double.url}"
api_key = "k"
[upstreams.gone]
kind = "openai"
base_url = "http://127.0.0.1:9/v1"
api_key = "k"
[models.m]
targets = [{{upstream = "up", model = "x"}}]
pricing = {{input_usd = 2.0, output_usd = 5.0}}
[models.unpriced]
targets = [{{upstream = "up", model = "y"}}]
[models.second]
targets = [{{upstream = "gone", model = "x"}}, {{upstream = "up", model = "x", priority = 1}}]
pricing = {{input_usd = 2.0, output_usd = 5.0}}
[models.lost]
targets = [{{upstream = "gone", model = "x"}}]
[routing]
retries = 1
breaker = {{failures = 1000000}}
"""
    with gateway(toml) as running:
        yield running


def ask(gate: Gateway, **more: Any) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", gate.port, timeout=20)
    connection.request(
        "POST",
        "/v1/chat/completions",
        json.dumps({**CHAT, **more}),
        {"content-type": "application/json", "connection": "close"},
    )
    answer = connection.getresponse()
    answer.connection = connection  # type: ignore[attr-defined]
    return answer


def done(answer: http.client.HTTPResponse) -> str:
    answer.read()
    answer.close()
    answer.connection.close()  # type: ignore[attr-defined]
    return answer.headers["x-request-id"]


def row(gate: Gateway, call_id: str) -> dict[str, Any] | None:
    database = gate.app.accounts.database
    assert database is not None
    return gate.call(receipt(database, call_id))  # type: ignore[return-value]


def row_soon(gate: Gateway, call_id: str) -> dict[str, Any]:
    """Where nobody waits for it to be written."""
    until = time.monotonic() + 10
    while (found := row(gate, call_id)) is None:
        assert time.monotonic() < until
        time.sleep(0.01)
    return found


@pytest.mark.parametrize("stream", [False, True])
def test_a_finished_call_is_there_when_its_answer_is(gate: Gateway, double: Counting, stream: bool) -> None:
    call_id = done(ask(gate, model="m", stream=stream))
    found, seen = row(gate, call_id), double.seen[-1]
    assert found is not None
    assert seen.call_id == call_id
    assert (found["ending"], found["stream"], found["usage_source"]) == ("finished", stream, "upstream")
    assert (found["prompt_tokens"], found["completion_tokens"]) == (seen.prompt, seen.completion)
    assert found["amount_micro"] == seen.prompt * 2 + seen.completion * 5
    assert 0 <= found["queue_ms"] <= found["ttft_ms"] <= found["total_ms"]
    assert found["bytes_out"] > 100


def test_an_unknown_price_is_null_never_nothing(gate: Gateway) -> None:
    found = row(gate, done(ask(gate, model="unpriced")))
    assert found is not None
    assert found["amount_micro"] is None
    assert found["prompt_tokens"] > 0


def test_a_fallback_is_one_row_with_two_attempts(gate: Gateway) -> None:
    found = row(gate, done(ask(gate, model="second")))
    assert found is not None
    assert (found["upstream"], found["target"]) == ("up", "x")
    first, second = json.loads(found["attempts"])
    assert (first["target"], first["reason"], first["error"]) == ("gone/x", "first", "upstream_error")
    assert (second["target"], second["reason"], second["error"]) == ("up/x", "fallback:connect", None)


def test_a_call_that_reached_nobody_has_no_row(gate: Gateway) -> None:
    answer = ask(gate, model="lost")
    assert answer.status == 502
    call_id = done(answer)
    done(ask(gate, model="m"))  # whatever was to be written has been written by now
    assert row(gate, call_id) is None


def test_a_client_that_leaves_pays_for_what_came(gate: Gateway, double: Counting) -> None:
    double.pause_s = 0.05
    try:
        answer = ask(gate, model="m", stream=True)
        call_id = answer.headers["x-request-id"]
        got = b""
        while got.count(b"word") < 2:
            got += answer.read1(65536)
        answer.close()
        answer.connection.close()  # type: ignore[attr-defined]
        found = row_soon(gate, call_id)
    finally:
        double.pause_s = 0.004
    assert (found["ending"], found["usage_source"]) == ("cancelled", "estimate")
    assert 2 <= found["completion_tokens"] <= 8, "two words of five letters, or a little more"
    assert found["prompt_tokens"] > 0
    assert found["amount_micro"] == found["prompt_tokens"] * 2 + found["completion_tokens"] * 5
    assert found["bytes_out"] >= len(got) // 2
