"""traghetto models load, status, instances, delete, against a running server."""

import json
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result

from fakes.gateway import Gateway, gateway
from proxy.cli import cli

TOML = """
[upstreams.local]
kind = "llama"
threads = 1
context_tokens = 512
parallel = 2
[upstreams.near]
kind = "echo"
[models.demo]
targets = [{upstream = "local", model = "demo"}]
[models.parrot]
targets = [{upstream = "near", model = "p"}]
"""


@pytest.fixture(scope="module")
def gate() -> Iterator[Gateway]:
    with gateway(TOML) as running:
        yield running


def models(gate: Gateway, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["models", *arguments, "--url", gate.v1])


def test_a_model_s_life(gate: Gateway) -> None:
    ran = models(gate, "load", "demo", "--concurrency", "3", "--keep", "300")
    assert ran.exit_code == 0, ran.output
    assert ran.stdout.startswith("demo  RUNNING  ")
    assert "0 of 3 running" in ran.stdout
    (card,) = json.loads(models(gate, "instances", "--json").stdout)
    assert (card["model"], card["expirationPeriodSeconds"]) == ("demo", 300)
    assert models(gate, "status", "demo").stdout.startswith("demo  RUNNING")
    assert json.loads(models(gate, "delete", "demo", "--wait", "--json").stdout)["status"] == "STOPPED"
    assert models(gate, "instances").stderr == "no model is loaded\n"
    begun = json.loads(models(gate, "load", "demo", "--no-wait", "--json").stdout)
    assert begun["status"] in ("started", "RUNNING")


def test_what_the_server_says_is_told(gate: Gateway) -> None:
    for arguments, said in ((["load", "parrot"], "no instances"), (["delete", "nobody"], "does not exist")):
        ran = models(gate, *arguments)
        assert ran.exit_code == 1
        assert said in ran.stderr


@pytest.mark.parametrize(("url", "code"), [("http://127.0.0.1:9", 1), ("nonsense", 2)])
def test_no_server(url: str, code: int) -> None:
    ran = CliRunner().invoke(cli, ["models", "instances", "--url", url])
    assert ran.exit_code == code
    assert "Traceback" not in ran.output
