"""traghetto models; its commands are in `instances`."""

import asyncio
from pathlib import Path
from typing import NamedTuple

import click

from proxy.cli.instances import COMMANDS
from proxy.cli.options import with_config, with_json


class Wanted(NamedTuple):
    """What of an upstream: its models that have `search`, or its list `shelf` (`NAME` or `NAME:OF`)."""

    search: str
    shelf: str | None


@click.group(invoke_without_command=True)
@click.pass_context
@with_config
@with_json
@click.option("--upstream", help="List what this upstream has, asked now, instead of what is configured.")
@click.option("--search", default="", help="Only names that contain this.")
@click.option("--type", "type_", help="Only this type: text, embedding, image, tts, upscale, inpaint, asr.")
@click.option(
    "--list", "shelf", metavar="NAME[:OF]", help="Another list of the upstream: hardware, versions:OWNER/NAME, ..."
)
def models(
    context: click.Context,
    path: Path | None,
    as_json: bool,
    upstream: str | None,
    search: str,
    type_: str | None,
    shelf: str | None,
) -> None:
    """List models: what the configuration names, or (with --upstream) what an upstream says it has.

    With a command: the models in the memory of a running server.
    """
    if context.invoked_subcommand is not None:
        return
    import msgspec

    from proxy.app import read_config
    from proxy.catalogue import build

    config, file = read_config(path)
    if shelf is not None and upstream is None:
        raise click.UsageError("--list is a list of an upstream: name it with --upstream.")
    if upstream is not None:
        rows = asyncio.run(_asked(config, upstream, Wanted(search, shelf), file))
    else:
        names = build(config, file=file)
        rows = [
            {
                "id": model.id,
                "type": model.type,
                "targets": ", ".join(str(target) for target in model.targets),
                "traits": ", ".join(sorted(t for t, v in names.traits[model.type].items() if v == model.id)),
            }
            for model in names.models.values()
            if search.lower() in model.id.lower() and type_ in (None, model.type)
        ]
    if as_json:
        click.echo(msgspec.json.encode(rows).decode())
        return
    if not rows:
        click.echo("no model", err=True)
    columns = list(dict.fromkeys(key for row in rows for key in row))[:4]
    widths = {c: max(len(c), *(len(str(row.get(c, ""))) for row in rows)) for c in columns} if rows else {}
    for row in ([dict(zip(columns, columns, strict=True))] if rows else []) + rows:
        click.echo("  ".join(f"{row.get(c, '')!s:<{widths[c]}}" for c in columns).rstrip())


for command in COMMANDS:
    models.add_command(command)


async def _asked(config: object, upstream: str, wanted: Wanted, file: str) -> list[dict[str, object]]:
    from adapters import build
    from proxy.config import Config
    from proxy.errors import ConfigError, NotSupported
    from proxy.ports import HasShelves, ListsModels

    assert isinstance(config, Config)
    options = config.upstreams.get(upstream)
    if options is None:
        raise ConfigError(
            f"there is no upstream {upstream!r}", file=file, expected=", ".join(config.upstreams) or "one"
        )
    adapter = build(upstream, options)
    try:
        if missing := options.missing():
            raise NotSupported(f"The upstream {upstream!r} cannot be asked: {missing}.")
        if wanted.shelf is not None:
            name, _, of = wanted.shelf.partition(":")
            if not isinstance(adapter, HasShelves) or name not in adapter.shelves:
                there = f"it has {', '.join(adapter.shelves)}" if isinstance(adapter, HasShelves) else "it has none"
                raise NotSupported(f"An upstream of kind {adapter.kind!r} has no list {name!r}; {there}.")
            rows = await adapter.shelf(name, of)
            return [row for row in rows if wanted.search.lower() in " ".join(map(str, row.values())).lower()]
        if not isinstance(adapter, ListsModels):
            raise NotSupported(f"An upstream of kind {adapter.kind!r} cannot list its models.")
        return await adapter.models(wanted.search)
    finally:
        await adapter.aclose()
