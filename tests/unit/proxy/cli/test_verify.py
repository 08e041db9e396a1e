"""traghetto verify: a faithful server passes, one that lies does not, and a wrong address is one line."""

import json

import pytest
from click.testing import CliRunner, Result

from fakes.evil import evil_thread
from proxy.cli import cli
from proxy.mock import fault


def verify(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["verify", *arguments])


def test_good() -> None:
    with evil_thread() as mock:
        ran = verify(mock.url, "--only", "stream", "--json")
    assert ran.exit_code == 0, ran.output
    assert json.loads(ran.stdout)


def test_bad() -> None:
    with evil_thread(faults=(fault("no_done"),)) as mock:
        ran = verify(mock.url, "--only", "stream", "--patience", "2")
    assert ran.exit_code != 0
    assert "stream.done" in ran.stdout


@pytest.mark.parametrize("arguments", [("ftp://nowhere",), ("http://127.0.0.1:9/v1",)])
def test_no_server(arguments: tuple[str, ...]) -> None:
    ran = verify(*arguments)
    assert ran.exit_code != 0
    assert "Traceback" not in ran.output
    assert ran.exception is None or isinstance(ran.exception, SystemExit)
