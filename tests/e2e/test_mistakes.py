"""Every mistake of the table through the real command: one line, the file, the key path, exit 78, and no secret."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from fakes.mistakes import BASE, MISTAKES
from proxy.cli import cli

ROOT = Path(__file__).parents[2]
ENV = {key: value for key, value in os.environ.items() if not key.endswith(("_API_KEY", "_TOKEN", "_KEY"))}


def traghetto(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "proxy", *map(str, arguments)],
        cwd=cwd, env={**ENV, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_check(tmp_path: Path, name: str) -> None:
    """The command in this process, for its speed; some of them below as a process."""
    text, where, said = MISTAKES[name]
    file = tmp_path / "bad.toml"
    file.write_bytes(text)
    ran = CliRunner().invoke(cli, ["check", str(file)])
    assert ran.exit_code == 78
    assert ran.stdout == ""
    assert ran.stderr.count("\n") == 1, ran.stderr
    assert ran.stderr.startswith(f"traghetto: {file}: {where}")
    assert said in ran.stderr
    assert "(expected " in ran.stderr
    assert "never-print-this-key" not in ran.stderr


def refused(ran: subprocess.CompletedProcess[str], *words: str) -> None:
    assert ran.returncode == 78, ran.stderr
    assert ran.stderr.count("\n") == 1, ran.stderr
    for word in words:
        assert word in ran.stderr


@pytest.mark.parametrize("name", ["typo in a key", "a base_url that is none", "no size", "mapping cycle"])
def test_serve_refuses_too(tmp_path: Path, name: str) -> None:
    """As a process: one line, no traceback, and nothing listens."""
    file = tmp_path / "bad.toml"
    file.write_bytes(MISTAKES[name][0])
    refused(traghetto("serve", "--config", file, "--port", "0", cwd=tmp_path), str(file), MISTAKES[name][1])


def test_a_missing_file(tmp_path: Path) -> None:
    refused(traghetto("check", "nowhere.toml", cwd=tmp_path), "nowhere.toml", "cannot be read: No such file")


def test_the_file_beside_is_taken(tmp_path: Path) -> None:
    (tmp_path / "traghetto.toml").write_bytes(MISTAKES["typo in a key"][0])
    refused(traghetto("check", cwd=tmp_path), "traghetto.toml: server.prot")


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "good.toml"
    file.write_text(BASE)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        refused(traghetto("serve", "--config", file, "--port", port, cwd=tmp_path), "server.port", port, "in use")


def test_a_bind_that_others_reach_without_a_key(tmp_path: Path) -> None:
    file = tmp_path / "good.toml"
    file.write_text(BASE)
    ran = traghetto("serve", "--config", file, "--host", "0.0.0.0", "--port", "0", cwd=tmp_path)
    refused(ran, "server.host", "keys create")


def test_a_good_file(tmp_path: Path) -> None:
    file = tmp_path / "good.toml"
    file.write_text(BASE)
    ran = traghetto("check", file, cwd=tmp_path)
    assert ran.returncode == 0
    assert "1 upstreams, 2 models" in ran.stdout
    assert "never-print-this-key" not in ran.stdout + ran.stderr


def test_the_contract_file(tmp_path: Path) -> None:
    file = ROOT.parent / "shared" / "contract" / "traghetto.toml"
    if not file.is_file():
        pytest.skip("shared/contract/traghetto.toml is not beside this checkout")
    ran = traghetto("check", file, "--json", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert '"upstreams":7' in ran.stdout
