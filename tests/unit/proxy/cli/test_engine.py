"""traghetto engine: what is refused before anything is loaded or listened on; serving is in tests/e2e/test_engine_node.py."""

import socket
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fakes.gguf_model import Shape, build
from proxy.cli import cli


def engine(*arguments: str) -> Result:
    return CliRunner(env={"TRAGHETTO_ENGINE_KEY": ""}).invoke(cli, ["engine", *arguments])


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--listen", "0.0.0.0:0"), 78, "let everybody in"),
        (("--listen", "nonsense"), 78, "cannot listen"),
        (("--listen", "unix:/nowhere/at/all.sock"), 78, "cannot listen"),
        (("--model", "/nowhere.gguf"), 1, "no model file"),
        (("--model", "demo", "--model", "demo", "--listen", "127.0.0.1:0"), 78, "two models"),
        (("--parallel", "0"), 2, "parallel"),
    ],
)
def test_refused(arguments: tuple[str, ...], code: int, said: str) -> None:
    ran = engine(*arguments)
    assert ran.exit_code == code, ran.output
    assert said in ran.stderr


def test_a_broken_file(tmp_path: Path) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"nothing")
    ran = engine("--model", str(path), "--listen", "127.0.0.1:0")
    assert ran.exit_code == 1
    assert "not a GGUF file" in ran.stderr
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(build(tmp_path / "good.gguf", Shape()).read_bytes().replace(b"blk.0.attn_q", b"blk.0.attn_x"))
    ran = engine("--model", str(bad), "--listen", "127.0.0.1:0")
    assert ran.exit_code == 1
    assert "attn_q" in ran.stderr


def test_a_file_of_configuration_without_an_engine(tmp_path: Path) -> None:
    file = tmp_path / "t.toml"
    file.write_text('[upstreams.near]\nkind = "echo"\n')
    ran = engine("--config", str(file))
    assert ran.exit_code == 78
    assert "no local engine" in ran.stderr


def test_somebody_listens_there_already(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    with socket.socket(socket.AF_UNIX) as taken:
        taken.bind(str(path))
        taken.listen()
        ran = engine("--listen", f"unix:{path}")
    assert ran.exit_code == 78
    assert "listens on" in ran.stderr
