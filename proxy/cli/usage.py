"""traghetto usage: the ledger's sums as a table and a plot. It asks `proxy.ledger.usage`, and draws."""

import asyncio
import csv
import io
import re
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proxy.cli.options import with_config, with_json
from proxy.errors import BadRequest

if TYPE_CHECKING:
    from proxy.ledger.usage import By, Total

DAYS = 60  # of the plot, at most
BAR = 32  # columns
BLOCKS = "▏▎▍▌▋▊▉█"
_AGO = re.compile(r"(\d{1,6})\s*([mhdw])", re.ASCII)
_UNITS = {"m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000, "w": 604_800_000_000}  # µs
_ORIGIN = datetime(1970, 1, 1, tzinfo=UTC)


@click.command()
@with_config
@with_json
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, for spreadsheets.")
@click.option(
    "--by", type=click.Choice(["model", "key", "day"]), default="model", show_default=True, help="One row for each."
)
@click.option(
    "--since", default="7d", show_default=True, help="From when on: 90m, 24h, 7d, 4w, a date, a time, or all."
)
@click.option("--until", default="", help="Until when, likewise. Default: now.")
@click.option("--key", "key_id", help="Only the calls of the key with this id (traghetto keys list shows them).")
def usage(path: Path | None, by: "By", **more: Any) -> None:
    """What was used and what it cost, out of the ledger: a table, and a plot of the days (UTC).

    \b
      traghetto usage                          the last seven days, by model
      traghetto usage --since 4w --by day      the last four weeks, day by day
      traghetto usage --since 2026-01-01 --by key --csv > keys.csv

    It reads the database of the configuration ([store] url) and may run beside a server. A call whose price is not
    known is counted as "unpriced" and is in no amount; what is charged for is shown in US dollars.
    """
    now = time.time_ns() // 1000
    since, until = moment(more["since"], now, "--since"), moment(more["until"], now, "--until")
    rows, days = asyncio.run(_asked(path, by, since, until, more["key_id"]))
    if more["as_json"]:
        import msgspec

        plain = {"by": by, "since": _shown(since), "until": _shown(until), "rows": [as_row(row, by) for row in rows]}
        click.echo(msgspec.json.encode(plain).decode())
    elif more["as_csv"]:
        click.echo(as_csv([as_row(row, by) for row in rows], by), nl=False)
    elif not rows:
        click.echo("no calls" + (f" since {_shown(since)}" if since else ""), err=True)
    else:
        fancy = "utf" in str(getattr(sys.stdout, "encoding", "")).lower()
        click.echo(table(rows, by))
        if len(days) > 1 or by != "day":
            click.echo("\n" + plot(days, fancy=fancy))


async def _asked(
    path: Path | None, by: "By", since: int | None, until: int | None, key_id: str | None
) -> tuple[list["Total"], list["Total"]]:
    """The rows, the dearest first (days in their order), and the sums of each day."""
    from proxy.accounts import Accounts
    from proxy.app import read_config
    from proxy.errors import Unavailable
    from proxy.ledger.books import Ledger
    from proxy.ledger.database import FAILURES, connect, reason, sqlite_file
    from proxy.ledger.usage import Filter, totals

    config, _ = read_config(path)
    file = sqlite_file(config.store.url)
    if file is not None and not file.exists():
        return [], []
    database = await connect(config.store.url)
    Ledger(
        database, Accounts(config).folder
    )  # not started: it waits for servers' rows, and brings in those of dead ones
    given: Filter = Filter(key_id=key_id, since_us=since, until_us=until)
    try:
        days = await totals(database, given, ("day",))
        rows = days if by == "day" else await totals(database, given, (by,))
    except FAILURES as error:
        raise Unavailable(f"the ledger cannot be read: {reason(error)}") from None
    finally:
        await database.aclose()
    if by != "day":
        rows.sort(key=lambda row: (-row.amount_micro, -row.calls, row.model, row.key))
    return rows, days


def moment(text: str, now_us: int, option: str) -> int | None:
    """`7d`, a date, a time (UTC), `all` or nothing → µs since 1970, None for no bound. BadRequest for anything else."""
    text = text.strip()
    if text in ("", "all", "now"):
        return None
    if ago := _AGO.fullmatch(text):
        return now_us - int(ago[1]) * _UNITS[ago[2]]
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise BadRequest(f"{option}: {text!r} is no time (expected 90m, 24h, 7d, 4w, 2026-01-31, or all)") from None
    found = found if found.tzinfo else found.replace(tzinfo=UTC)
    return (found - _ORIGIN) // timedelta(microseconds=1)


def _shown(us: int | None) -> str | None:
    from proxy.ledger.row import timestamp

    return None if us is None else timestamp(us)


def as_row(total: "Total", by: "By") -> dict[str, Any]:
    """One row for scripts."""
    return {
        by: getattr(total, by),
        "calls": total.calls,
        "promptTokens": total.prompt_tokens,
        "completionTokens": total.completion_tokens,
        "characters": total.characters,
        "images": total.images,
        "amountMicro": total.amount_micro,
        "amountUsd": total.amount_micro / 1e6,
        "unpricedCalls": total.unpriced,
    }


def as_csv(rows: Sequence[dict[str, Any]], by: "By") -> str:
    """With a heading; amounts as decimals without an exponent."""
    out = io.StringIO()
    writer = csv.writer(out)
    columns = [by, "calls", "promptTokens", "completionTokens", "characters", "images", "amountUsd", "unpricedCalls"]
    writer.writerow(columns)
    for row in rows:
        cells = {**row, "amountUsd": _usd(row["amountMicro"]), by: _harmless(row[by])}
        writer.writerow([cells[column] for column in columns])
    return out.getvalue()


def _harmless(text: str) -> str:
    """Not a formula, for a spreadsheet."""
    return "'" + text if text[:1] in ("=", "+", "@", "-", "\t", "\r") else text


def _usd(micro: int) -> str:
    return f"{micro // 1_000_000}.{micro % 1_000_000:06d}"


def table(rows: Sequence["Total"], by: "By") -> str:
    """Columns that are nothing everywhere are left out; the last line is the sum."""
    figures = {
        "calls": [row.calls for row in rows],
        "prompt": [row.prompt_tokens for row in rows],
        "completion": [row.completion_tokens for row in rows],
        "characters": [row.characters for row in rows],
        "images": [row.images for row in rows],
        "unpriced": [row.unpriced for row in rows],
    }
    columns: dict[str, list[str]] = {by: [*(getattr(row, by) for row in rows), "total"]}
    for name, values in figures.items():
        if any(values) or name == "calls":
            columns[name] = [*(f"{value:,}" for value in values), f"{sum(values):,}"]
    amounts = [row.amount_micro for row in rows]
    columns["usd"] = [*map(_usd, amounts), _usd(sum(amounts))]
    widths = {name: max(len(name), *map(len, cells)) for name, cells in columns.items()}
    lines = [columns.keys(), *zip(*columns.values(), strict=True)]
    shown = [
        "  ".join(_cell(cell, widths[name], name == by) for name, cell in zip(columns, line, strict=True))
        for line in lines
    ]
    rule = "-" * sum(widths.values(), 2 * (len(widths) - 1))
    return "\n".join([shown[0], rule, *shown[1:-1], rule, shown[-1]])


def _cell(text: str, width: int, left: bool) -> str:
    text = "".join(c if c.isprintable() else "?" for c in text)  # names come from callers
    return text.ljust(width) if left else text.rjust(width)


def plot(days: Sequence["Total"], *, fancy: bool = True) -> str:
    """A bar for each of the last days, in dollars where any is known, else in calls; days without a call have none."""
    paid = any(day.amount_micro for day in days)
    known = {day.day: day.amount_micro if paid else day.calls for day in days}
    last = datetime.fromisoformat(days[-1].day)
    first = max(datetime.fromisoformat(days[0].day), last - timedelta(days=DAYS - 1))
    names = [(first + timedelta(days=step)).strftime("%Y-%m-%d") for step in range((last - first).days + 1)]
    most = max(known.get(name, 0) for name in names) or 1
    lines = ["usd a day" if paid else "calls a day"]
    for name in names:
        value = known.get(name, 0)
        figure = "" if not value else _usd(value) if paid else f"{value:,}"
        lines.append(f"{name}  {bar(value, most, fancy=fancy)} {figure}".rstrip())
    return "\n".join(lines)


def bar(value: int, most: int, *, fancy: bool) -> str:
    """`value` of `most` as a bar of at most BAR columns; what is more than nothing is seen."""
    eighths = -(-value * BAR * 8 // most)
    if not fancy:
        return "#" * -(-eighths // 8)
    whole, rest = divmod(eighths, 8)
    return "█" * whole + (BLOCKS[rest - 1] if rest else "")
