"""traghetto check: good files, notes, the schema. What is wrong is in tests/e2e/test_mistakes.py."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fakes.houses import ECHO
from proxy.cli import cli


def check(*arguments: str | Path) -> Result:
    return CliRunner(env={"FAR_KEY": None}).invoke(cli, ["check", *map(str, arguments)])


@pytest.mark.parametrize("option", [[], ["-c"]], ids=["argument", "option"])
def test_a_good_file_with_notes(tmp_path: Path, option: list[str]) -> None:
    file = tmp_path / "good.toml"
    file.write_text(ECHO)
    ran = check(*option, file)
    assert ran.exit_code == 0, ran.output
    *notes, last = ran.stdout.splitlines()
    assert last == f"{file}: good. 2 upstreams, 2 models."
    assert notes[0] == "note: upstream 'far' is unavailable: no api_key is configured"


def test_json(tmp_path: Path) -> None:
    file = tmp_path / "good.toml"
    file.write_text(ECHO)
    told = json.loads(check("--json", file).stdout)
    assert (told["file"], told["models"], told["upstreams"], len(told["notes"])) == (str(file), 2, 2, 2)


def test_without_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "the embedded default: good." in check().stdout


def test_the_schema_knows_every_kind() -> None:
    schema = json.loads(check("--schema").stdout)
    assert {"server", "models", "upstreams"} <= set(schema["$defs"]["Config"]["properties"])
    assert "LlamaOptions" in schema["$defs"]


def test_wrong(tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text("[sever]")
    ran = check(file)
    assert (ran.exit_code, ran.stdout, ran.stderr.count("\n")) == (78, "", 1)
