"""traghetto verify."""

import asyncio

import click

from proxy.cli.options import with_json


@click.command()
@click.argument("url")
@click.option("--key", envvar="TRAGHETTO_VERIFY_KEY", help="The API key. Also from TRAGHETTO_VERIFY_KEY.")
@click.option("--model", help="The model to ask. Default: the first that the server lists.")
@click.option("--embedding-model", help="Check embeddings too, with this model.")
@click.option("--only", multiple=True, help="A check, or a group by the part before the dot; may be repeated.")
@click.option("--patience", type=float, default=30.0, show_default=True, help="Seconds of silence that are waited out.")
@with_json
def verify(
    url: str,
    key: str | None,
    model: str | None,
    embedding_model: str | None,
    only: tuple[str, ...],
    patience: float,
    as_json: bool,
) -> None:
    """Check the server at URL (its base_url, up to /v1) against the stream contract; say what breaks which client.

    Exit 0 if every promise that must be kept was kept.
    """
    from proxy import verify as checker

    try:
        report = asyncio.run(
            checker.verify(url, key, model, only or None, embedding_model=embedding_model, patience=patience)
        )
    except (ValueError, OSError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(report.json() if as_json else report.text())
    raise SystemExit(report.exit_code)
