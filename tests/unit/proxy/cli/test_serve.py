"""traghetto serve, short of serving: the listener and what it says of itself. The rest is tests/e2e/test_start.py."""

import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from fakes.houses import ECHO
from proxy.cli import cli
from proxy.cli.serve import bound, origin
from proxy.errors import ConfigError


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
def test_a_free_port(host: str, shown: str) -> None:
    with bound(host, 0, "") as listener:
        port = listener.getsockname()[1]
        assert origin(listener) == f"http://{shown}:{port}"


def test_a_port_that_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "t.toml"
    file.write_text(ECHO)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match="cannot listen") as caught:
            bound("127.0.0.1", port, "t.toml")
        ran = CliRunner().invoke(cli, ["serve", "-c", str(file), "--port", str(port)])
    assert (caught.value.where, caught.value.file) == ("server.port", "t.toml")
    assert (ran.exit_code, ran.stderr.count("\n")) == (78, 1)


@pytest.mark.parametrize("arguments", [["--port", "70000"], ["--workers", "0"], ["--log-level", "loud"]])
def test_wrong_usage(arguments: list[str]) -> None:
    assert CliRunner().invoke(cli, ["serve", *arguments]).exit_code == 2
