"""The options that commands share."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from proxy.cli.options import with_config, with_json


@click.command()
@with_config
@with_json
def command(path: Path | None, as_json: bool) -> None:
    click.echo(f"{path!r} {as_json}")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "None False"),
        (["-c", "x.toml"], f"{Path('x.toml')!r} False"),
        (["--config", "x", "--json"], f"{Path('x')!r} True"),
    ],
)
def test_given(arguments: list[str], said: str) -> None:
    assert CliRunner().invoke(command, arguments).stdout.strip() == said


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert CliRunner().invoke(command, ["-c", str(tmp_path)]).exit_code == 2
