"""Models that a hosted upstream loads (Bytez v1), by our own admin routes: load, status, instances, delete."""

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from fakes.doubles.bytez import BytezDouble
from fakes.doubles.clockwork import Pace
from fakes.gateway import Gateway, gateway

GPT2 = "openai-community/gpt2"


def asked(gate: Gateway, path: str, **body: Any) -> Any:
    request = urllib.request.Request(
        f"{gate.origin}/admin/models/{path}", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def test_the_life_of_a_model_by_our_routes() -> None:
    with BytezDouble(pace=Pace.quick()) as double:
        toml = f"""
[upstreams.up]
kind = "bytez"
api = "v1"
base_url = "{double.base_url}"
api_key = "{double.key}"
reads_per_s = 1000

[models.m]
targets = [{{upstream = "up", model = "{GPT2}"}}]
"""
        with gateway(toml) as gate:
            assert asked(gate, "status", model="m")["status"] != "RUNNING"
            loaded = asked(gate, "load", model="m", concurrency=2, expirationPeriodSeconds=90, wait=True)
            assert (loaded["status"], loaded["concurrency"]) == ("RUNNING", 2)
            assert double.seen("POST", "/model/load")[0].json == {
                "model": GPT2, "concurrency": 2, "expirationPeriodSeconds": 90,
            }  # fmt: skip
            (row,) = asked(gate, "instances")["data"]
            assert row["model"] == "m"
            asked(gate, "delete", model="m")
            assert double.instances == {}
            with pytest.raises(urllib.error.HTTPError) as caught:
                asked(gate, "delete", model="m")
            assert caught.value.code == 404
            caught.value.close()
