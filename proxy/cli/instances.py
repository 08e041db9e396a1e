"""traghetto models load, status, instances, delete: a running server's models in memory, over its admin routes.

Owns the asking and what is printed. Refuses to know engines: the server does the work, and its errors are shown as it says
them. Invariant: the key goes to the server that was named and is never printed.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import click

from proxy.cli.options import with_json

POLL_S = 0.2
MOST_BODY = 16 << 20
GOING = ("started", "QUEUED", "LOADING")


def with_server(command: Callable[..., Any]) -> Callable[..., Any]:
    url = click.option(
        "--url", envvar="TRAGHETTO_URL", default="http://127.0.0.1:8000", show_default=True, help="The running server."
    )
    key = click.option(
        "--key",
        envvar="TRAGHETTO_ADMIN_KEY",
        help="An ADMIN key, where keys are asked for. Also from TRAGHETTO_ADMIN_KEY.",
    )
    return url(key(command))


@click.command()
@click.argument("model")
@with_server
@with_json
@click.option("--concurrency", type=click.IntRange(1, 256), help="Sequences at once. Default: as configured.")
@click.option("--keep", "keep_s", type=click.IntRange(-1), help="Seconds it stays after its last call; -1 for ever.")
@click.option("--no-wait", is_flag=True, help="Come back as soon as it has begun.")
def load(
    model: str, url: str, key: str | None, as_json: bool, concurrency: int | None, keep_s: int | None, no_wait: bool
) -> None:
    """Load MODEL into the memory of a running server, and wait until it can serve."""
    asked: dict[str, Any] = {"model": model}
    if concurrency is not None:
        asked["concurrency"] = concurrency
    if keep_s is not None:
        asked["expirationPeriodSeconds"] = keep_s

    async def work(server: "Server") -> Any:
        card = await server.ask("load", asked)
        shown = -1.0
        while not no_wait and card["status"] in GOING:
            if not as_json and card["progress"] > shown:
                shown = card["progress"]
                click.echo(f"{card['model']}: {card['status'].lower()}, {shown:.0%}", err=True)
            await asyncio.sleep(POLL_S)
            card = await server.ask("status", {"model": model})
        return card

    card = _with(url, key, work)
    _print([card], as_json, one=True)
    if card["status"] in ("FAILED", "STOPPED"):
        raise SystemExit(1)


@click.command()
@click.argument("model")
@with_server
@with_json
def status(model: str, url: str, key: str | None, as_json: bool) -> None:
    """Say how MODEL is: loaded or not, since when, until when."""
    card = _with(url, key, lambda server: server.ask("status", {"model": model}))
    _print([card], as_json, one=True)


@click.command()
@with_server
@with_json
def instances(url: str, key: str | None, as_json: bool) -> None:
    """List the models in memory."""
    rows = _with(url, key, lambda server: server.ask("instances", {}))["data"]
    _print(rows, as_json)
    if not rows and not as_json:
        click.echo("no model is loaded", err=True)


@click.command()
@click.argument("model")
@with_server
@with_json
@click.option("--wait", is_flag=True, help="Until its running calls have ended and it is gone.")
def delete(model: str, url: str, key: str | None, as_json: bool, wait: bool) -> None:
    """Unload MODEL: it takes no new calls, those running end. The next call for it loads it again."""
    card = _with(url, key, lambda server: server.ask("delete", {"model": model, "wait": wait}))
    _print([card], as_json, one=True)


COMMANDS = (load, status, instances, delete)


class Server:
    """The admin routes of one running server."""

    def __init__(self, url: str, key: str | None) -> None:
        from adapters._http import HttpClient, Timeouts

        root = url.rstrip("/").removesuffix("/v1").removesuffix("/api")
        headers = [("content-type", "application/json")]
        if key:
            headers.append(("authorization", f"Bearer {key}"))
        patient = Timeouts(first_byte_s=0, total_s=0)  # a large model takes its time
        self.root = root
        self._client: HttpClient = HttpClient(root, headers=headers, timeouts=patient, max_connections=1)

    async def ask(self, route: str, body: dict[str, Any]) -> Any:
        """Raises ClickException with what the server said."""
        import msgspec

        from adapters._http import TransportError

        try:
            content = msgspec.json.encode(body)
            async with await self._client.send("POST", f"/admin/models/{route}", content=content) as response:
                said = await response.read(MOST_BODY)
        except TransportError as error:
            raise click.ClickException(f"{self.root} does not answer ({error.message})") from None
        try:
            answer = msgspec.json.decode(said)
            if response.status == 200:
                return answer
            message = str(answer["error"]["message"])
        except (msgspec.DecodeError, KeyError, TypeError):
            raise click.ClickException(
                f"{self.root} answers with status {response.status} and no JSON: is it a Traghetto?"
            ) from None
        raise click.ClickException(message)

    async def aclose(self) -> None:
        await self._client.aclose()


def _with(url: str, key: str | None, work: Callable[[Server], Any]) -> Any:
    try:
        server = Server(url, key)
    except ValueError as error:
        raise click.UsageError(f"--url: {error}") from None

    async def run() -> Any:
        try:
            return await work(server)
        finally:
            await server.aclose()

    return asyncio.run(run())


def _print(cards: list[dict[str, Any]], as_json: bool, *, one: bool = False) -> None:
    import msgspec

    if as_json:
        click.echo(msgspec.json.encode(cards[0] if one else cards).decode())
        return
    for card in cards:
        click.echo("  ".join(_facts(card)))


def _facts(card: dict[str, Any]) -> list[str]:
    out = [card["model"], card["status"]]
    if card["memoryBytes"]:
        out.append(f"{card['memoryBytes'] / (1 << 20):,.0f} MiB")
    if card["concurrency"]:
        out.append(f"{card['running']} of {card['concurrency']} running, {card['inferences']} calls so far")
    if card["expiresAt"]:
        out.append(f"until {card['expiresAt']}")
    if card.get("message"):
        out.append(card["message"])
    return out
