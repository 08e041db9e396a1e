"""traghetto keys create, list, revoke."""

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proxy.cli.options import with_config, with_json

if TYPE_CHECKING:
    from proxy.config import Config
    from proxy.keys.store import KeyStore


@click.group()
def keys() -> None:
    """Make, list and revoke API keys.

    A running server sees the change within a second. Once a key was made, every route but a short list asks for one.
    """


@keys.command()
@with_config
@with_json
@click.option("--type", "type_", type=click.Choice(["INFERENCE", "ADMIN"], case_sensitive=False), default="INFERENCE")
@click.option("--description", default="", help="What it is for.")
@click.option("--expires", help="When it ends: YYYY-MM-DD or YYYY-MM-DDTHH:MM:SSZ.")
@click.option("--usd", type=float, help="The most it may spend a day (UTC), in US dollars.")
@click.option("--diem", type=float, help="Likewise, in Diem; of several limits the tightest counts.")
@click.option("--vcu", type=float, help="Likewise, in VCU.")
@click.option("--model", "models", multiple=True, help="A model that it may use; may be repeated. Default: all.")
@click.option("--tier", default="default", show_default=True, help="Whose limits it has ([tiers]).")
def create(path: Path | None, as_json: bool, type_: str, models: tuple[str, ...], **more: Any) -> None:
    """Make a key. Its text is shown once: it is kept only as a keyed hash."""
    import msgspec

    from proxy.keys.desk import Wish, created_json

    wish = Wish(
        admin=type_.upper() == "ADMIN",
        description=more["description"],
        expires_at=more["expires"],
        usd=more["usd"],
        diem=more["diem"],
        vcu=more["vcu"],
        tier=more["tier"],
        models=models or None,
    )

    async def work(store: "KeyStore") -> Any:
        return created_json(await store.desk.create(wish))

    made = _with_store(path, work)
    if as_json:
        click.echo(msgspec.json.encode(made).decode())
        return
    click.echo(made["apiKey"])
    click.echo(f"id {made['id']}, {made['apiKeyType']}. It is not shown again.", err=True)


@keys.command(name="list")
@with_config
@with_json
def listed(path: Path | None, as_json: bool) -> None:
    """List the keys that can be used, and what each spent in the last seven days."""
    import msgspec

    from proxy.accounts import Accounts
    from proxy.budgets import rates_of
    from proxy.keys.desk import listed_json
    from proxy.ledger.books import Ledger
    from proxy.ledger.usage import DAY_US, spent

    config = _config(path)

    async def work(store: "KeyStore") -> Any:
        rows = await store.desk.list()
        week_ago = time.time_ns() // 1000 - 7 * DAY_US
        Ledger(store.database, Accounts(config).folder)  # not started: it waits for what servers have not written yet
        sums = await spent(store.database, week_ago, [row.id for row in rows])
        return [(row, sums.get(row.id, 0)) for row in rows]

    found, rates = _with_store(path, work), rates_of(config.limits)
    rows = [listed_json(row, rates.shown(micro)) for row, micro in found]
    if as_json:
        click.echo(msgspec.json.encode(rows).decode())
        return
    for row in rows:
        ends = row["expiresAt"] or "never"
        usd = row["usage"]["trailingSevenDays"]["usd"]
        told = f"{row['id']}  …{row['last6Chars']}  {row['apiKeyType']:<9}  expires {ends}  ${usd} in 7 days"
        click.echo(f"{told}  {row['description']}".rstrip())
    if not rows:
        click.echo("no key", err=True)


@keys.command()
@with_config
@click.argument("key_id")
def revoke(path: Path | None, key_id: str) -> None:
    """End the key with this id, at once here and within a second in running servers."""

    async def work(store: "KeyStore") -> Any:
        return await store.desk.revoke(key_id)

    if not _with_store(path, work):
        raise click.ClickException(f"there is no key with the id {key_id!r}")
    click.echo("revoked")


def _config(path: Path | None) -> "Config":
    from proxy.app import read_config

    return read_config(path)[0]


def _with_store(path: Path | None, work: Any) -> Any:
    from proxy.keys.store import opened

    config = _config(path)

    async def run() -> Any:
        store = await opened(config.store.url, watch=False)
        try:
            return await work(store)
        finally:
            await store.aclose()

    return asyncio.run(run())
