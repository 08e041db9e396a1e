"""The official SDK with a key of ours, under /v1: what it makes of refusals, and the account's routes through it."""

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from fakes.accounts import Keyed, keyed

HELLO: Any = [{"role": "user", "content": "one two"}]
TIERS = '[tiers.default]\n"model:m" = {rpm = 3}\n'


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    with keyed(tmp_path_factory.mktemp("books"), TIERS) as running:
        yield running


def client(gate: Keyed, key: str, **more: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=gate.v1, api_key=key, **{"max_retries": 0, "timeout": 20, **more})


def chat(made: openai.OpenAI, **more: Any) -> Any:
    return made.chat.completions.create(**{"model": "m", "messages": HELLO, **more})


def get(made: openai.OpenAI, path: str, **query: Any) -> Any:
    return made.get(path, cast_to=object, options={"params": query})


def test_a_good_key_and_the_receipt_of_its_call(gate: Keyed) -> None:
    key, id_ = gate.made()
    with client(gate, key) as made:
        answer = chat(made)
        receipt = get(made, f"/requests/{answer._request_id}")
    assert (receipt["keyId"], receipt["ending"]) == (id_, "finished")
    assert receipt["usage"]["promptTokens"] == answer.usage.prompt_tokens
    assert receipt["charge"]["amountMicro"] == answer.usage.prompt_tokens + 2 * answer.usage.completion_tokens
    with client(gate, gate.admin) as boss:
        lines = get(boss, "/billing/usage", keyId=id_)["data"]
        assert round(-sum(line["amount"] for line in lines) * 1e6) == receipt["charge"]["amountMicro"]
        assert {line["inferenceDetails"]["requestId"] for line in lines} == {answer._request_id}


def test_a_stream_is_booked_before_it_ends(gate: Keyed) -> None:
    key, _ = gate.made()
    with client(gate, key) as made:
        stream = chat(made, stream=True, stream_options={"include_usage": True})
        request_id = stream.response.headers["x-request-id"]
        usage = [chunk.usage for chunk in stream if chunk.usage is not None]
        receipt = get(made, f"/requests/{request_id}")
    assert receipt["usage"]["completionTokens"] == usage[-1].completion_tokens > 0


@pytest.mark.parametrize(
    "key", ["", "sk-nobody", "tgt_0000000000000000000000_0000000000000000000000000000000000000000000"]
)
def test_a_wrong_key(gate: Keyed, key: str) -> None:
    with client(gate, key or "none") as made, pytest.raises(openai.AuthenticationError) as told:
        chat(made)
    assert (told.value.status_code, told.value.code) == (401, "invalid_api_key")
    assert key == "" or key not in str(told.value)


def test_a_revoked_key_and_an_inference_key_on_an_admins_route(gate: Keyed) -> None:
    key, id_ = gate.made()
    with client(gate, key) as made:
        for path in ("/api_keys", "/billing/usage"):
            with pytest.raises(openai.PermissionDeniedError):
                get(made, path)
        assert gate.ask("DELETE", f"/v1/api_keys?id={id_}", gate.admin).status_code == 200
        with pytest.raises(openai.AuthenticationError):
            chat(made)


def test_over_the_limit_and_a_retry_at_the_time_that_was_told(gate: Keyed, monkeypatch: pytest.MonkeyPatch) -> None:
    key, _ = gate.made()
    with client(gate, key) as made:
        for _ in range(3):
            chat(made)
        with pytest.raises(openai.RateLimitError) as told:
            chat(made)
        assert told.value.code == "rate_limit_exceeded"
        wait = float(told.value.response.headers["retry-after-ms"]) / 1000
        assert 0 < wait <= 20
        limits = get(made, "/api_keys/rate_limits")["data"]
        assert limits["rateLimits"][0] == {"apiModelId": "m", "rateLimits": [{"amount": 3, "type": "RPM"}]}
        (entry,) = get(made, "/api_keys/rate_limits/log")["data"]
        assert (entry["rateLimitType"], entry["need"], entry["have"]) == ("RPM", 1, 0)
    slept: list[float] = []
    monkeypatch.setattr("openai._base_client.time.sleep", slept.append)
    with client(gate, key, max_retries=1) as patient, pytest.raises(openai.RateLimitError):
        chat(patient)  # it would have waited for as long as we said, and we cannot
    assert slept == [pytest.approx(wait, abs=3)]


def test_over_budget_is_not_tried_again(gate: Keyed) -> None:
    key, _ = gate.made(consumptionLimit={"usd": 0.000001})
    calls = len(gate.rows())
    with client(gate, key, max_retries=2) as made, pytest.raises(openai.APIStatusError) as told:
        chat(made)
    assert (told.value.status_code, told.value.code) == (402, "insufficient_quota")
    assert told.value.response.headers["x-should-retry"] == "false"
    assert len(gate.rows()) == calls
