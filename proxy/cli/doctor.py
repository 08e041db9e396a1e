"""traghetto doctor."""

import asyncio
import re
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import click

from proxy.cli.options import with_config, with_json

NOT_THERE = "the upstream has no such model"
UNLOADABLE = "cannot be loaded"


@click.command()
@with_config
@with_json
@click.option("--timeout", "timeout_s", type=float, default=20.0, show_default=True, help="Seconds for each probe.")
def doctor(path: Path | None, as_json: bool, timeout_s: float) -> None:
    """Probe every configured upstream, follow every trait and mapping, and look at the stores. One line each: what works,
    and what to do.

    Exit 1 if something that is configured cannot work.
    """
    import msgspec

    from adapters import build
    from proxy import house
    from proxy.app import read_config

    config, file = read_config(path)
    stays = house.foundations(config)
    built = house.build(config, build, stays, file=file)
    rows = asyncio.run(_all(built, timeout_s))
    if as_json:
        click.echo(msgspec.json.encode(rows).decode())
    else:
        width = max((len(row["what"]) for row in rows), default=0)
        for row in rows:
            mark = {"ok": click.style("ok  ", fg="green"), "note": click.style("note", fg="yellow")}
            click.echo(f"{mark.get(row['state'], click.style('bad ', fg='red'))} {row['what']:<{width}}  {row['said']}")
    if any(row["state"] == "bad" for row in rows):
        raise SystemExit(1)


async def _all(built: Any, timeout_s: float) -> list[dict[str, str]]:
    return [*await _examine(built, timeout_s), *await _stores(built.config)]


async def _stores(config: Any) -> list[dict[str, str]]:
    """Where keys, calls and limits are kept."""
    from proxy.ledger.look import look

    rows = [await _looked("store", look(config.store.url))]
    if not config.store.ledger:
        rows.append({"what": "ledger", "state": "note", "said": "off: calls are not written down"})
    if config.store.redis:
        from proxy.limits.probe import probe

        rows.append(await _looked("limits", probe(config.store.redis)))
    return rows


async def _looked(what: str, looking: Awaitable[str]) -> dict[str, str]:
    from proxy.errors import ConfigError

    try:
        return {"what": what, "state": "ok", "said": await looking}
    except ConfigError as error:
        return {"what": what, "state": "bad", "said": f"{error.message}. Check [store]."}


async def _examine(built: Any, timeout_s: float) -> list[dict[str, str]]:
    try:
        probes = [_probe(name, built, timeout_s) for name in built.adapters]
        rows = list(await asyncio.gather(*probes))
        states = {name: row["state"] for name, row in zip(built.adapters, rows, strict=True)}
        return rows + _names(built, states, await _absent(built, states, timeout_s))
    finally:
        for adapter in built.adapters.values():
            await adapter.aclose()


async def _probe(name: str, built: Any, timeout_s: float) -> dict[str, str]:
    """One line about an upstream: whether its key opens it, what is left of the credit, how many models it lists."""
    from proxy.errors import TraghettoError

    what = f"upstream {name}"
    missing = built.cards[name].missing
    if missing:
        return {"what": what, "state": "note", "said": f"not used: {missing}"}
    try:
        async with asyncio.timeout(timeout_s):
            said = await built.adapters[name].probe(None)
            money, state = await _balance(built.adapters[name])
            listed = await _listed(built.adapters[name], said)
    except TimeoutError:
        return {
            "what": what,
            "state": "bad",
            "said": f"no answer within {timeout_s:g} s; check base_url and the network",
        }
    except TraghettoError as error:
        return {"what": what, "state": "bad", "said": f"{error.message} {_advice(error.code)}".strip()}
    return {"what": what, "state": state, "said": "; ".join(part for part in (said, listed, money) if part)}


async def _balance(adapter: Any) -> tuple[str, str]:
    """What is left where there is a call for it, and the state that follows from that."""
    from proxy.errors import TraghettoError
    from proxy.ports import KnowsBalance

    if not isinstance(adapter, KnowsBalance):
        return "", "ok"
    try:
        left = await adapter.balance()
    except TraghettoError:
        return "its balance cannot be asked", "ok"
    if left.startswith("0 "):
        return f"balance {left}: top it up, calls will be refused", "bad"
    return f"balance {left}", "ok"


async def _listed(adapter: Any, said: str) -> str:
    """How many models it lists, where its probe has not said so."""
    from proxy.errors import TraghettoError
    from proxy.ports import ListsModels

    if re.search(r"\d (?:models|endpoints)", said) or not isinstance(adapter, ListsModels):
        return ""
    try:
        return f"{len(await adapter.models())} models listed"
    except TraghettoError as error:
        return f"its model list cannot be had ({error.code})"


async def _absent(built: Any, states: dict[str, str], timeout_s: float) -> dict[Any, str]:
    """Targets that their upstreams do not list, and perhaps do not have: target → what was said of it.

    What is not listed may work all the same; what the upstream says it does not have begins with NOT_THERE. Only upstreams
    over HTTP that list models are asked: probing a local model would load it.
    """
    from proxy.errors import TraghettoError
    from proxy.ports import HoldsModels, ListsModels

    targets = {t for model in built.catalogue.models.values() for t in model.targets if states.get(t.upstream) == "ok"}
    absent: dict[Any, str] = {}
    for name, adapter in built.adapters.items():
        if isinstance(adapter, HoldsModels):
            mine = [target for target in targets if target.upstream == name]
            absent |= {target: f"{UNLOADABLE}: {why}" for target in mine if (why := _unloadable(adapter, target))}
        if not isinstance(adapter, ListsModels) or not hasattr(built.config.upstreams[name], "base_url"):
            continue
        try:
            async with asyncio.timeout(timeout_s):
                listed = {str(row.get("id")) for row in await adapter.models()}
                for target in sorted((t for t in targets if t.upstream == name and t.model not in listed), key=str):
                    said = await _said(adapter, target)
                    absent |= {target: said} if said else {}
        except (TimeoutError, TraghettoError):
            continue  # its own line tells
    return absent


def _unloadable(adapter: Any, target: Any) -> str:
    """Why a local model cannot be loaded, as far as its file tells, or ""."""
    return str(adapter.facts(target).get("reason", ""))


async def _said(adapter: Any, target: Any) -> str:
    """What a target's own probe says against it, or ""."""
    from proxy.errors import Fault, ModelUnknown, UpstreamError

    try:
        said = str(await adapter.probe(target))
    except ModelUnknown:
        return NOT_THERE
    except UpstreamError as error:
        return NOT_THERE if error.fault is Fault.MISSING else ""
    return said.removeprefix("reachable, but ") if "reachable, but " in said else ""


def _advice(code: str) -> str:
    return {
        "upstream_auth_failed": "Check its api_key.",
        "upstream_unavailable": "Check its balance, or try again later.",
        "upstream_rate_limited": "Try again later.",
    }.get(code, "Check base_url.")


def _names(built: Any, states: dict[str, str], absent: dict[Any, str]) -> list[dict[str, str]]:
    """Models, traits and mappings, each led to targets that can be used; what `absent` says is told beside them."""
    rows = []
    catalogue = built.catalogue
    for model in catalogue.models.values():
        there = [t for t in model.targets if states.get(t.upstream) == "ok"]
        good = [str(t) for t in there if not absent.get(t, "").startswith((NOT_THERE, UNLOADABLE))]
        wrong = "; ".join(f"{t}: {absent[t]}" for t in there if t in absent)
        what = f"model {model.id}"
        if good:
            said = " → ".join(good) + (f" ({wrong})" if wrong else "")
            rows.append({"what": what, "state": "note" if wrong else "ok", "said": said})
        else:
            noted = all(states.get(t.upstream) == "note" for t in model.targets)
            said = wrong or "no target of it can be used"
            rows.append({"what": what, "state": "note" if noted else "bad", "said": said})
    return rows
