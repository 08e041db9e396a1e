"""traghetto models: of the configuration, and of one upstream asked now."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

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
