"""traghetto engine: one machine's models for other gateways.

Owns the command, loading before listening, and the socket. Refuses to know engines (`adapters.llama`) and what a node's
configuration is made of (`proxy.node`). Invariant: it listens only once its models are in memory.
"""

import asyncio
import contextlib
import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from proxy.errors import ConfigError

if TYPE_CHECKING:
    from proxy.app import Application
    from proxy.node import Address, Served
    from proxy.ports import HoldsModels, Instance

TELL_S = 2.0
OPTIONS = ("parallel", "context_tokens", "gpu_layers", "threads", "kv_type", "queue", "projector")


@click.command()
@click.option(
    "--model",
    "models",
    multiple=True,
    default=["demo"],
    show_default=True,
    metavar="[NAME=]FILE",
    help="May be repeated.",
)
@click.option(
    "--listen",
    default="127.0.0.1:8800",
    show_default=True,
    metavar="ADDRESS",
    help="host:port (0 takes a free port) or unix:/path.",
)
@click.option(
    "--key", envvar="TRAGHETTO_ENGINE_KEY", default="", help="The only key it accepts. Also from TRAGHETTO_ENGINE_KEY."
)
@click.option(
    "-c",
    "--config",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Take the options of this file's first upstream of kind llama; those here go before them.",
)
@click.option("--parallel", type=click.IntRange(1, 256), help="Sequences at once.")
@click.option("--context-tokens", type=click.IntRange(1), help="Context of one request.")
@click.option("--gpu-layers", type=click.IntRange(-1), help="Layers on the GPU; -1 all.")
@click.option("--threads", type=click.IntRange(1), help="Threads of one model.")
@click.option("--kv-type", type=click.Choice(["f16", "q8_0", "q4_0"]), help="Number format of the cache.")
@click.option("--queue", type=click.IntRange(0), help="Calls that may wait.")
@click.option("--projector", metavar="FILE", help="An mmproj file, for models that see.")
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
def engine(models: tuple[str, ...], listen: str, key: str, path: Path | None, log_level: str, **options: Any) -> None:
    """Serve local models to other gateways: they are loaded first, then it listens, and they stay.

    \b
    A gateway has this node as an upstream:
      [upstreams.box]
      kind = "openai"
      base_url = "http://box:8800/v1"
      api_key = "${TRAGHETTO_ENGINE_KEY}"
    """
    from proxy import config as configuration
    from proxy import log, node

    log.setup(log_level, json=os.environ.get("TRAGHETTO_LOG_FORMAT") == "json")
    address = node.parse_address(listen)
    served = [node.parse_model(text) for text in models]
    keyring = node.OneKey(key, address)
    chosen = {name: value for name in OPTIONS if (value := options[name]) is not None}
    base = {**_configured(path), "keep_loaded_s": -1, "max_loaded": len(served), **chosen}
    from adapters.options import KINDS
    from proxy.app import Application

    told = "the command's options"
    rows = [(model, _kind(model, base)) for model in served]
    config = configuration.decode(node.tree(rows, base, address), KINDS, {}, file=told)
    listener = None if address.path else _bound(address)
    application = Application(config, host=address.host, keyring=keyring)
    if not _run(application, served, listener, address, log_level):
        raise SystemExit(1)


def _configured(path: Path | None) -> dict[str, Any]:
    """The options of a file's first local engine, as the file would have them; nothing without a file."""
    if path is None:
        return {}
    import msgspec

    from adapters.options import LlamaOptions
    from proxy.app import read_config

    config, file = read_config(path)
    for options in config.upstreams.values():
        if isinstance(options, LlamaOptions):
            return {
                key: value for key, value in msgspec.to_builtins(options).items() if key != "kind" and value is not None
            }
    raise ConfigError("it has no local engine", file=file, where="upstreams", expected="an upstream of kind llama")


def _kind(model: "Served", base: dict[str, Any]) -> str:
    """text, or embedding for a model that cannot generate. Raises UpstreamError, ConfigError: there is no such file."""
    import msgspec

    from adapters.llama import faults
    from adapters.llama.fleet import Fleet
    from adapters.llama.footprint import is_encoder
    from adapters.llama.gguf_meta import GgufError, read
    from adapters.options import LlamaOptions

    fleet = Fleet(msgspec.convert(base, LlamaOptions))
    try:
        return "embedding" if is_encoder(read(str(fleet.path(model.reference)))) else "text"
    except GgufError as error:
        raise faults.bad_file(f"{model.name}: {error}") from None


def _bound(address: "Address") -> socket.socket:
    from proxy.cli.serve import bound

    return bound(address.host, address.port, "")


def _run(
    application: "Application",
    served: "list[Served]",
    listener: socket.socket | None,
    address: "Address",
    log_level: str,
) -> bool:
    """Until it is told to end. Raises TraghettoError: a model cannot be loaded."""
    from proxy.cli.serve import origin
    from proxy.cli.server import Announcing, options
    from proxy.node import UPSTREAM

    holder = cast("HoldsModels", application.house.adapters[UPSTREAM])

    class Node(Announcing):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            for model in served:
                began = time.monotonic()
                try:
                    loaded = await _loaded(holder, model)
                except BaseException:
                    await application.house.adapters[UPSTREAM].aclose()
                    raise
                said = f"{loaded.concurrency} at once, {loaded.context_tokens} tokens each"
                click.echo(f"{model.name}: loaded in {time.monotonic() - began:.1f} s, {said}", err=True)
            await super().startup(sockets)

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            await super().shutdown(sockets)
            if address.path:  # here, since the signal that ends us is raised again behind this
                with contextlib.suppress(OSError):
                    os.unlink(address.path)

    settings = options(application.asgi, application.house.config, log_level)
    if listener is None:
        _reserve(address.path)
        settings.uds = address.path
    server = Node(settings, f"unix:{address.path}" if listener is None else origin(listener))
    try:
        server.run(sockets=None if listener is None else [listener])
    finally:
        if listener is not None:
            listener.close()
        elif not server.started:
            Path(address.path).unlink(missing_ok=True)
    return server.started


async def _loaded(holder: "HoldsModels", model: "Served") -> "Instance":
    """The model in memory; of a large one it is told how it goes. Raises UpstreamError."""
    from proxy.call import Target
    from proxy.node import UPSTREAM

    target = Target(UPSTREAM, model.reference)
    task = asyncio.ensure_future(holder.load(target, wait=True))
    while not (await asyncio.wait({task}, timeout=TELL_S))[0]:
        click.echo(f"{model.name}: loading, {holder.instance(target).progress:.0%}", err=True)
    return task.result()


def _reserve(path: str) -> None:
    """A unix socket that is nobody's yet, and that only its owner may open: the server keeps its permissions."""
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as probe:
        try:
            probe.connect(path)
        except OSError:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        else:
            raise ConfigError(f"somebody listens on {path} already", expected="another path")
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as holder:
        try:
            holder.bind(path)
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {path}: {error.strerror or error}", expected="a path that can be made"
            ) from None
    os.chmod(path, 0o600)
