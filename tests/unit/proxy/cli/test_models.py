"""traghetto models: of the configuration, and of one upstream asked now."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fakes.doubles.vaikerai import VaikerDouble
from fakes.evil import evil_thread
from fakes.houses import ECHO
from proxy.cli import cli


def models(tmp_path: Path, *arguments: str, toml: str = ECHO) -> Result:
    file = tmp_path / "t.toml"
    file.write_text(toml)
    return CliRunner(env={"FAR_KEY": "any-key"}).invoke(cli, ["models", "-c", str(file), *arguments])


@pytest.mark.parametrize(
    ("arguments", "ids"),
    [([], ["parrot", "lonely"]), (["--search", "PARR"], ["parrot"]), (["--type", "image"], [])],
)
def test_configured(tmp_path: Path, arguments: list[str], ids: list[str]) -> None:
    ran = models(tmp_path, "--json", *arguments)
    assert [row["id"] for row in json.loads(ran.stdout)] == ids


def test_as_a_table(tmp_path: Path) -> None:
    head, first, _ = models(tmp_path).stdout.splitlines()
    assert head.split() == ["id", "type", "targets", "traits"]
    assert first.split() == ["parrot", "text", "near/p,", "far/q", "default"]
    assert models(tmp_path, "--search", "nothing").stderr == "no model\n"


def test_of_an_upstream(tmp_path: Path) -> None:
    with evil_thread(models=("a-one", "b-two")) as mock:
        toml = ECHO.replace("http://127.0.0.1:9/v1", mock.url)
        ran = models(tmp_path, "--json", "--upstream", "far", "--search", "two", toml=toml)
    assert [row["id"] for row in json.loads(ran.stdout)] == ["b-two"]


@pytest.mark.parametrize(
    ("upstream", "code", "said"),
    [("nowhere", 78, "there is no upstream 'nowhere'"), ("near", 1, "cannot list"), ("far", 1, "could not be reached")],
)
def test_refused_in_one_line(tmp_path: Path, upstream: str, code: int, said: str) -> None:
    ran = models(tmp_path, "--upstream", upstream)
    assert ran.exit_code == code
    assert said in ran.stderr
    assert ran.stderr.count("\n") == 1


PREDICTIONS = """
[upstreams.vk]
kind = "vaikerai"
base_url = "{url}"
api_key = "{key}"

[models.m]
targets = [{{upstream = "vk", model = "o/n"}}]
"""


@pytest.mark.parametrize(
    ("arguments", "ids"),
    [
        (["--search", "hello"], ["vaikerai/hello-world"]),
        (["--list", "hardware", "--search", "t4"], ["gpu-t4"]),
        (["--list", "collections:super-resolution"], ["nightmareai/real-esrgan"]),
        (["--list", "deployments:acme/my-llm"], ["deployment:acme/my-llm"]),
        (["--list", "trainings"], []),
    ],
)
def test_other_lists_of_an_upstream(tmp_path: Path, arguments: list[str], ids: list[str]) -> None:
    with VaikerDouble() as double:
        toml = PREDICTIONS.format(url=double.base_url, key=double.key)
        ran = models(tmp_path, "--json", "--upstream", "vk", *arguments, toml=toml)
        assert [row["id"] for row in json.loads(ran.stdout)] == ids
        wrong = models(tmp_path, "--upstream", "vk", "--list", "nothing", toml=toml)
        assert (wrong.exit_code, "it has hardware, collections" in wrong.stderr) == (1, True)


def test_a_list_is_an_upstreams(tmp_path: Path) -> None:
    assert models(tmp_path, "--list", "hardware").exit_code == 2
    ran = models(tmp_path, "--list", "hardware", "--upstream", "near")
    assert (ran.exit_code, "it has none" in ran.stderr) == (1, True)
    toml = PREDICTIONS.format(url="http://127.0.0.1:9", key="")
    ran = models(tmp_path, "--upstream", "vk", toml=toml)
    assert (ran.exit_code, "no api_key is configured" in ran.stderr) == (1, True)
