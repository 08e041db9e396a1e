"""traghetto check."""

from pathlib import Path

import click

from proxy.cli.options import with_config, with_json


@click.command()
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@with_config
@with_json
@click.option("--schema", is_flag=True, help="Print the JSON Schema of the file, for editors, and stop.")
def check(file: Path | None, path: Path | None, as_json: bool, schema: bool) -> None:
    """Validate a configuration without serving it. Exit 78 with one line (file, key path, what was expected) if it is wrong.

    What is not wrong and still worth knowing (an upstream without a key, a model without a price) is a note.
    """
    import msgspec

    from adapters import build
    from adapters.options import KINDS
    from proxy import house
    from proxy.app import read_config
    from proxy.config import json_schema, size_in_bytes

    if schema:
        click.echo(msgspec.json.format(msgspec.json.encode(json_schema(KINDS))).decode())
        return
    config, name = read_config(file or path)
    size_in_bytes(config.server.max_body_bytes, file=name, where="server.max_body_bytes")
    house.build(config, build, house.foundations(config), file=name)  # opens nothing, and finds what cannot be built
    notes = house.notes(config, file=name)
    said = name or "the embedded default"
    if as_json:
        counts = {"file": said, "models": len(config.models), "upstreams": len(config.upstreams), "notes": notes}
        click.echo(msgspec.json.encode(counts).decode())
        return
    for note in notes:
        click.echo(f"note: {note}")
    click.echo(f"{said}: good. {len(config.upstreams)} upstreams, {len(config.models)} models.")
