"""Reports of finished jobs, from the double through the gateway's route to who waits: signed, forged, old, doubled, late."""

import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import msgspec
import openai
import pytest

from fakes.doubles.callbacks import signature
from fakes.doubles.clockwork import Pace
from fakes.doubles.vaikerai import VaikerDouble
from fakes.gateway import Gateway, gateway

PACE = Pace(queue=0.05, image=0.6, token=0.05)
TOML = """
[upstreams.up]
kind = "vaikerai"
base_url = "{double.base_url}"
api_key = "{double.key}"
file_hosts = ["{files}"]
webhook_url = "{hook}"
{secret}

[models.image]
type = "image"
targets = [{{upstream = "up", model = "black-forest-labs/flux-schnell"}}]
"""


@pytest.fixture(params=["known", "asked for"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[VaikerDouble, Gateway]]:
    """The gateway listens where there is room: only then is the address for its reports known."""
    with VaikerDouble(pace=PACE, plain_webhooks=True) as double:
        secret = f'webhook_secret = "{double.webhook_secret}"' if request.param == "known" else ""
        toml = TOML.format(double=double, files=double.origin("files"), hook="http://127.0.0.1:1/", secret=secret)
        with gateway(toml) as gate:
            adapter: Any = gate.house().adapters["up"]
            msgspec.structs.force_setattr(adapter.options, "webhook_url", f"{gate.origin}/webhooks/up")
            yield double, gate


def draw(gate: Gateway) -> float:
    """Seconds that a picture took."""
    began = time.monotonic()
    with openai.OpenAI(base_url=gate.v1, api_key="x", max_retries=0, timeout=60) as client:
        assert client.images.generate(model="image", prompt="a boat").data
    return time.monotonic() - began


def told(double: VaikerDouble, event: str = "completed") -> list[int | None]:
    return [status for name, status in double.webhooks_sent if name == event]


def test_a_report_comes_before_the_next_poll_would(pair: tuple[VaikerDouble, Gateway]) -> None:
    double, gate = pair
    assert draw(gate) < 5, "without it the job would be looked at after 16 seconds"
    assert told(double) == [200]
    assert len(double.seen("GET", "/predictions/")) == 1
    assert draw(gate) < 5
    assert len(double.seen("GET", "/webhooks/default/secret")) <= 1


@pytest.mark.parametrize("trick", ["duplicate", "late"])
def test_reports_that_come_twice_or_too_late_change_nothing(pair: tuple[VaikerDouble, Gateway], trick: str) -> None:
    double, gate = pair
    double.webhook_tricks.add(trick)
    assert draw(gate) < 5
    assert len(double.seen("GET", "/predictions/")) == 1
    assert double.created == 1


@pytest.mark.parametrize("trick", ["bad_signature", "old"])
def test_forgeries_wake_nobody(trick: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The safety net finds the result without them."""
    monkeypatch.setattr("adapters.job_pace.HINTED_S", 1.5)
    with VaikerDouble(pace=PACE, plain_webhooks=True) as double:
        double.webhook_tricks.add(trick)
        secret = f'webhook_secret = "{double.webhook_secret}"'
        toml = TOML.format(double=double, files=double.origin("files"), hook="http://127.0.0.1:1/", secret=secret)
        with gateway(toml) as gate:
            adapter: Any = gate.house().adapters["up"]
            msgspec.structs.force_setattr(adapter.options, "webhook_url", f"{gate.origin}/webhooks/up")
            assert draw(gate) > 1.1
            assert told(double) == [403]


def test_strangers_are_refused(pair: tuple[VaikerDouble, Gateway]) -> None:
    double, gate = pair
    said: list[str] = []

    def post(upstream: str, headers: dict[str, str], body: bytes = b'{"id": "x"}') -> int:
        request = urllib.request.Request(f"{gate.origin}/webhooks/{upstream}", body, headers)
        try:
            with urllib.request.urlopen(request) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                said.append(error.read().decode())
                return error.code

    at = int(time.time())
    good = {"webhook-id": "m", "webhook-timestamp": str(at)}
    good["webhook-signature"] = signature(double.webhook_secret, "m", at, b'{"id": "x"}')
    assert post("nobody", good) == 404
    assert post("up", {}) == 403
    assert post("up", good | {"webhook-signature": "v1,AAAA"}) == 403
    assert post("up", good, b'{"id": "y"}') == 403
    assert post("up", good) == 200
    assert post("up", good) == 200, "sent again: taken, and without effect"
    assert double.seen("GET", "/predictions/") == []
    assert not [text for text in said if double.webhook_secret in text or double.key in text]
