"""traghetto mock."""

import asyncio

import click


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=9000, show_default=True, help="0 takes a free one.")
@click.option("--unix", help="Listen on this socket path instead.")
@click.option("--model", "models", multiple=True, help="A model it has; may be repeated. '*' takes any name.")
@click.option("--api-key", help="The only key it accepts. Without it nobody is asked.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the faults that are drawn.")
@click.option("--fault", "faults", multiple=True, help="name or name:key=value,…; may be repeated. See --list-faults.")
@click.option(
    "--rate", type=click.FloatRange(0, 1), default=1.0, show_default=True, help="How likely a request gets one."
)
@click.option("--ttft", type=float, default=0.0, help="Seconds before the first piece of a stream.")
@click.option("--pace", type=float, default=0.0, help="Seconds between its further pieces.")
@click.option("--recordings", type=click.Path(exists=True, file_okay=False), help="A folder of .sse and .json answers.")
@click.option("--recording", help="Answer every chat request with this file of the folder.")
@click.option("--list-faults", is_flag=True, help="List every fault, with its parameters, and stop.")
def mock(faults: tuple[str, ...], models: tuple[str, ...], list_faults: bool, **options: object) -> None:
    """Serve an OpenAI-compatible upstream that answers by script, and that fails on purpose.

    \b
    traghetto mock --fault cut:at=400 --rate 0.2 --seed 7
    traghetto mock --pace 0.02 --model '*'
    """
    from proxy.mock import MockOptions, listing, parse_fault, run

    if list_faults:
        click.echo(listing())
        return
    try:
        parsed = tuple(parse_fault(text) for text in faults)
    except ValueError as error:
        raise click.UsageError(f"--fault: {error}; see --list-faults") from None
    if models:
        options["models"] = models
    asyncio.run(run(MockOptions(faults=parsed, **options)))  # type: ignore[arg-type]
