"""Measured traits: the figures come from the calls that went through the gateway, and the better model wins."""

from typing import Any

import httpx
import pytest

from fakes.gateway import Gateway, gateway

TOML = """
[upstreams.brisk]
kind = "echo"
chunk_delay_s = 0.002
[upstreams.slow]
kind = "echo"
delay_s = 0.05
chunk_delay_s = 0.02
[models.brisk]
targets = [{upstream = "brisk", model = "m"}]
[models.slow]
targets = [{upstream = "slow", model = "m"}]
[traits.text]
flowing = {by = "tokens_per_s"}
early = {by = "ttft"}
"""
WORDS = "one two three four five six seven eight nine ten eleven twelve"


def said(gate: Gateway, model: str, *, stream: bool) -> str:
    body = {"model": model, "messages": [{"role": "user", "content": WORDS}], "stream": stream}
    answer = httpx.post(f"{gate.v1}/chat/completions", json=body, timeout=20)
    assert answer.status_code == 200
    return answer.headers["x-traghetto-route"].partition("/")[0]


def explained(gate: Gateway, trait: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{gate.v1}/models/traits/explain", params={"trait": trait}).json()
    return found


def figures(gate: Gateway, trait: str) -> dict[str, float | None]:
    return {row["model"]: row["figure"] for row in explained(gate, trait)["candidates"]}


@pytest.fixture(scope="module")
def gate() -> Any:
    with gateway(TOML) as running:
        yield running


def test_the_model_whose_text_comes_faster_wins(gate: Gateway) -> None:
    assert figures(gate, "flowing") == {"brisk": None, "slow": None}, "nothing was measured yet"
    for model in ("slow", "brisk"):
        said(gate, model, stream=False)
    assert figures(gate, "flowing") == {"brisk": None, "slow": None}, "a whole answer has no pace"
    for model in ("slow", "brisk"):
        said(gate, model, stream=True)
    found = figures(gate, "flowing")
    assert found["brisk"] is not None
    assert found["slow"] is not None
    assert 10 < found["slow"] <= 55, "12 words, 20 ms apart"
    assert found["slow"] * 1.5 < found["brisk"] <= 600
    assert explained(gate, "flowing")["winner"] == "brisk"
    assert said(gate, "flowing", stream=True) == "brisk"


def test_the_model_that_begins_sooner_wins(gate: Gateway) -> None:
    for model in ("slow", "brisk"):
        said(gate, model, stream=True)
    found = figures(gate, "early")
    assert found["slow"] is not None
    assert found["slow"] >= 0.05
    assert explained(gate, "early")["winner"] == "brisk"
    assert said(gate, "early", stream=False) == "brisk"
