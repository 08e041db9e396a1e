"""traghetto serve."""

import asyncio
import contextlib
import gc
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from proxy import NAME
from proxy.cli.options import with_config
from proxy.config import Config
from proxy.errors import ConfigError


@click.command()
@with_config
@click.option("--host", help="The address to listen on; overrides server.host.")
@click.option("--port", type=click.IntRange(0, 65535), help="The port; overrides server.port. 0 takes a free one.")
@click.option("--workers", type=click.IntRange(1, 256), help="Processes; overrides server.workers.")
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
def serve(path: Path | None, host: str | None, port: int | None, workers: int | None, log_level: str) -> None:
    """Serve the OpenAI API under /v1 and Venice's under /api/v1.

    Without a configuration file it serves the demo model on the local engine: offline, without a key. SIGHUP reads the
    configuration again; SIGTERM lets running calls end.
    """
    gc.set_threshold(100_000, 50, 50)  # what is loaded now stays: looking through it again and again is time lost

    from proxy import accounts, log
    from proxy.app import read_config

    log.setup(log_level, json=os.environ.get("TRAGHETTO_LOG_FORMAT") == "json")
    config, file = read_config(path)
    host = host or config.server.host
    port = config.server.port if port is None else port
    asyncio.run(accounts.examine(config, host, file))
    listener = bound(host, port, file)
    if (workers or config.server.workers) > 1:
        _serve_many(config, file, listener, workers or config.server.workers, log_level)
    else:
        _serve_one(config, file, listener, log_level)


def bound(host: str, port: int, file: str) -> socket.socket:
    """A listening socket, so that a port that is taken is said before anything is loaded."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"cannot listen on {host}:{port}: {error.strerror or error}",
            file=file,
            where="server.port",
            expected="a free port of this machine (0 takes any)",
        ) from None
    return listener


def origin(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _serve_one(config: Config, file: str, listener: socket.socket, log_level: str) -> None:
    from proxy import house
    from proxy.app import Application
    from proxy.cli.server import Announcing, options

    application = Application(config, file, host=listener.getsockname()[0])
    for line in house.warnings(application.house):
        click.echo(f"note: {line}", err=True)
    server = Announcing(options(application.asgi, config, log_level), origin(listener))
    server.run(sockets=[listener])
    if not server.started:
        raise SystemExit(1)


def _serve_many(config: Config, file: str, listener: socket.socket, workers: int, log_level: str) -> None:
    """N processes on one socket; each builds its own Application from the same file."""
    from uvicorn.supervisors import Multiprocess

    from proxy.cli.server import options

    os.environ["TRAGHETTO_LOG"] = log_level
    if file:
        os.environ["TRAGHETTO_CONFIG"] = str(Path(file).resolve())
    os.environ["TRAGHETTO_HOST"] = str(listener.getsockname()[0])
    os.environ["TRAGHETTO_WORKERS"] = str(workers)
    settings = options("proxy.app:create", config, log_level)
    settings.factory, settings.workers = True, workers
    listener.listen(settings.backlog)
    with _one_engine():
        click.echo(f"{NAME}: {workers} workers on {origin(listener)}", err=True)
        Multiprocess(settings, [listener]).run()


@contextlib.contextmanager
def _one_engine() -> Iterator[None]:
    """Workers share one process that has the local models; who needs it first starts it."""
    from adapters.llama.sharing.remote import SOCKET

    folder = tempfile.mkdtemp(prefix="traghetto-")
    os.environ[SOCKET] = os.path.join(folder, "engine")
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)
