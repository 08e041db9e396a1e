"""traghetto pull, from a hub that cuts and lies, into models_dir."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fakes.gguf_model import Shape, build
from fakes.hub import FakeHub, fake_hub
from proxy.cli import cli


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return build(tmp_path_factory.mktemp("models") / "m.gguf", Shape(licence="mit")).read_bytes()


@pytest.fixture
def hub(model: bytes) -> Iterator[FakeHub]:
    with fake_hub() as running:
        running.files["o/n/m-Q8_0.gguf"] = model
        yield running


def pull(hub: FakeHub, tmp_path: Path, *arguments: str, more: str = "") -> Result:
    file = tmp_path / "t.toml"
    file.write_text(f'[upstreams.here]\nkind = "llama"\nmodels_dir = "{tmp_path / "models"}"\n{more}')
    return CliRunner(env={"HF_TOKEN": "t0ken"}).invoke(cli, ["pull", "-c", str(file), "--hub", hub.url, *arguments])


def test_from_the_hub(hub: FakeHub, tmp_path: Path, model: bytes) -> None:
    hub.behave("cut", 1000)
    ran = pull(hub, tmp_path, "o/n")
    assert ran.exit_code == 0, ran.output
    kept = tmp_path / "models" / "o" / "n" / "m-Q8_0.gguf"
    assert kept.read_bytes() == model
    assert hashlib.sha256(model).hexdigest() in ran.stdout
    assert "(compared)" in ran.stdout
    assert "licence: mit" in ran.stdout
    assert '{upstream = "here", model = "o/n/m-Q8_0.gguf"}' in ran.stdout
    assert "licence: apache-2.0" in ran.stderr
    assert all(headers["authorization"] == "Bearer t0ken" for headers in hub.gets())
    assert "was here already" in pull(hub, tmp_path, "o/n:Q8_0").stdout
    assert "t0ken" not in ran.output


def test_from_a_url(hub: FakeHub, tmp_path: Path) -> None:
    ran = pull(hub, tmp_path, f"{hub.url}/o/n/m-Q8_0.gguf", "--name", "mine.gguf", "--json")
    told = json.loads(ran.stdout)
    assert (told["model"], told["licence"], told["files"][0]["checked"]) == ("mine.gguf", "mit", False)
    assert (tmp_path / "models" / "mine.gguf").is_file()
    elsewhere = pull(hub, tmp_path, f"{hub.url}/o/n/m-Q8_0.gguf", "--to", str(tmp_path / "x"))
    assert "upstream" not in elsewhere.stdout


@pytest.mark.parametrize(
    ("arguments", "more", "said"),
    [
        (["o/n"], f'allow_sha256 = ["{"0" * 64}"]', "allow_sha256"),
        (["o/n", "--sha256", "0" * 64], "", "should be"),
        (["o/nobody"], "", "there is no"),
        (["nonsense"], "", "no URL, owner/name/file"),
        (["o/n/other.gguf"], "", "no file 'other.gguf'"),
    ],
)
def test_refused(hub: FakeHub, tmp_path: Path, arguments: list[str], more: str, said: str) -> None:
    ran = pull(hub, tmp_path, *arguments, more=more)
    assert ran.exit_code == 1
    assert said in ran.stderr
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "t.toml"]


def test_a_wrong_upstream_is_a_wrong_configuration(hub: FakeHub, tmp_path: Path) -> None:
    ran = pull(hub, tmp_path, "o/n", "--upstream", "there")
    assert ran.exit_code == 78
    assert "no local engine 'there'" in ran.stderr
