"""api_keys/rate_limits and its log over sockets."""

import time
from collections.abc import Iterator
from datetime import datetime

import pytest

from fakes.accounts import Keyed, keyed

TIERS = '[tiers.default]\ntext = {rpm = 2, tpm = 1000000, concurrent = 9}\n"model:free" = {rpd = 7}\n'
PATH = "/api/v1/api_keys/rate_limits"


@pytest.fixture
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    with keyed(tmp_path_factory.mktemp("books"), TIERS) as running:
        yield running


def us(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_what_a_key_may_still_do(gate: Keyed) -> None:
    key, _ = gate.made(consumptionLimit={"usd": 5, "vcu": 100, "diem": None}, expiresAt="2090-01-01")
    assert gate.chat(key).status_code == 200
    data = gate.ask("GET", PATH, key).json()["data"]
    spent = gate.rows()[-1]["amount_micro"] / 1e6
    assert data["accessPermitted"] is True
    assert data["apiTier"] == {"id": "default", "isCharged": True}
    assert data["balances"] == {"USD": pytest.approx(5 - spent), "VCU": pytest.approx(100 - spent * 10)}
    assert data["keyExpiration"] == "2090-01-01T00:00:00.000Z"
    assert 0 < us(data["nextEpochBegins"]) - time.time() <= 86_400
    assert data["rateLimits"] == [
        {"apiModelId": "m", "rateLimits": [{"amount": 2, "type": "RPM"}, {"amount": 1_000_000, "type": "TPM"}]},
        {"apiModelId": "free", "rateLimits": [{"amount": 7, "type": "RPD"}]},
    ]


def test_a_spent_budget_permits_nothing(gate: Keyed) -> None:
    key, _ = gate.made(consumptionLimit={"usd": 0})
    data = gate.ask("GET", PATH, key).json()["data"]
    assert (data["accessPermitted"], data["balances"], data["keyExpiration"]) == (False, {"USD": 0.0}, None)


def test_the_log_says_which_bucket_and_when_the_call_would_have_passed(gate: Keyed) -> None:
    assert [gate.chat().status_code for _ in range(3)] == [200, 200, 429]
    (entry,) = gate.ask("GET", f"{PATH}/log", gate.user).json()["data"]
    assert (entry["apiKeyId"], entry["modelId"]) == (gate.user_id, "m")
    assert (entry["rateLimitTier"], entry["rateLimitType"]) == ("default", "RPM")
    assert (entry["need"], entry["have"]) == (1, 0)
    assert 0 < us(entry["passesAt"]) - us(entry["timestamp"]) <= 30
    other, _ = gate.made()
    assert gate.ask("GET", f"{PATH}/log", other).json() == {"object": "list", "data": []}
    assert [hit["apiKeyId"] for hit in gate.ask("GET", f"{PATH}/log", gate.admin).json()["data"]] == [gate.user_id]


def test_the_log_keeps_fifty(gate: Keyed) -> None:
    statuses = [gate.chat().status_code for _ in range(60)]
    assert statuses.count(429) >= 57
    entries = gate.ask("GET", f"{PATH}/log", gate.user).json()["data"]
    assert len(entries) == 50
    times = [entry["timestamp"] for entry in entries]
    assert times == sorted(times, reverse=True)


def test_where_no_key_is_asked_for(tmp_path_factory: pytest.TempPathFactory) -> None:
    import httpx2

    from fakes.gateway import gateway

    folder = tmp_path_factory.mktemp("open")
    with gateway(f'[store]\nurl = "sqlite:///{folder}/t.db"\n[upstreams.e]\nkind = "echo"\n') as gate:
        data = httpx2.get(f"{gate.v1}/api_keys/rate_limits").json()["data"]
        assert (data["accessPermitted"], data["apiTier"]["id"], data["rateLimits"]) == (True, "unlimited", [])
        assert httpx2.get(f"{gate.v1}/api_keys/rate_limits/log").json()["data"] == []
