"""Options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


def with_config(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--config FILE`: without it `./traghetto.toml`, and without that the embedded default."""
    return click.option(
        "-c",
        "--config",
        "path",
        type=click.Path(path_type=Path, dir_okay=False),
        help="The configuration file. Default: ./traghetto.toml if it is there, else the demo model.",
    )(command)


def with_json(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")(command)
