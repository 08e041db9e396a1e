"""traghetto mock: options become the mock's, and what is wrong with a fault is said."""

from typing import Any

import pytest
from click.testing import CliRunner, Result

import proxy.mock
from proxy.cli import cli
from proxy.mock import FAULTS, MockOptions, fault


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[MockOptions]:
    seen: list[MockOptions] = []

    async def run(options: MockOptions) -> None:
        seen.append(options)

    monkeypatch.setattr(proxy.mock, "run", run)
    return seen


def mock(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["mock", *arguments])


def test_options_arrive(served: list[Any]) -> None:
    ran = mock("--port", "0", "--seed", "7", "--fault", "status:status=429", "--fault", "crlf", "--rate", "0.2")
    assert ran.exit_code == 0, ran.output
    (options,) = served
    assert (options.port, options.seed, options.rate) == (0, 7, 0.2)
    assert options.faults == (fault("status", status=429), fault("crlf"))
    assert options.models == MockOptions().models, "its own, where none are given"
    mock("--model", "*")
    assert served[1].models == ("*",)


@pytest.mark.parametrize("text", ["nonsense", "status:colour=red", "status:status=x"])
def test_a_fault_that_is_none(text: str, served: list[Any]) -> None:
    ran = mock("--fault", text)
    assert ran.exit_code == 2
    assert "--list-faults" in ran.stderr
    assert served == []


def test_the_list() -> None:
    listed = mock("--list-faults").stdout
    assert [name for name in FAULTS if name not in listed] == []
