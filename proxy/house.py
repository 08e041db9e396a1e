"""Builds a House from a Config: catalogue, cards, adapters, stages. What must outlive a reload (health, the gate, the books,
adapters of upstreams that did not change) is handed in and kept.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from proxy import catalogue, log
from proxy.account import Books
from proxy.accounts import Accounts, rules_of
from proxy.admit import Gate
from proxy.call import Call, Ending, Served, Usage
from proxy.config import Config, dotted
from proxy.dispatch import Dispatcher
from proxy.errors import ConfigError
from proxy.health import Health
from proxy.pipeline import House
from proxy.ports import Adapter
from proxy.resolve import Card, Resolver
from proxy.traits import Measures

Builder = Callable[[str, Any], Adapter]
Watcher = Callable[[Call, Usage | None, Ending], None]


class Foundations(msgspec.Struct):
    """What stays when the configuration changes."""

    health: Health
    gate: Gate
    books: Books
    accounts: Accounts


def foundations(config: Config, accounts: Accounts | None = None, watch: Watcher | None = None) -> Foundations:
    """`watch` is told of every call that the books take. Without `accounts`, nothing outlives the process."""
    accounts = accounts or Accounts(config)
    health = Health(config.routing.breaker)

    def ended(call: Call, served: Served) -> None:
        if call.stream:
            _time(health, call, served)
        if watch is not None:
            watch(call, served.usage, served.ending)

    books = Books(accounts, ended)
    return Foundations(health, Gate(books, accounts), books, accounts)


def _time(health: Health, call: Call, served: Served) -> None:
    """How fast the text of a whole stream came, behind its first frame."""
    last = call.attempts[-1] if call.attempts else None
    if last is None or last.ms is None or last.error is not None:
        return
    if served.usage is not None and served.ending is Ending.FINISHED:
        seconds = time.perf_counter() - last.started - last.ms / 1000
        health.flowed(last.target, served.usage.completion_tokens, seconds)


def build(
    config: Config, builder: Builder, stays: Foundations, *, kept: Mapping[str, Adapter] | None = None, file: str = ""
) -> House:
    """Config → House. `kept` are adapters to use again, by upstream name. Raises ConfigError."""
    names = catalogue.build(config, file=file)
    for options in config.upstreams.values():
        log.keep_secret(getattr(options, "api_key", "") or "")
    adapters = {
        name: (kept or {}).get(name) or _built(builder, name, options, file)
        for name, options in config.upstreams.items()
    }
    cards = {
        name: Card(adapter.kind, adapter.caps, config.upstreams[name].missing() or getattr(adapter, "missing", None))
        for name, adapter in adapters.items()
    }
    stays.health.breaker = config.routing.breaker
    measures = Measures(names, stays.health, lambda target: cards[target.upstream].missing is None)
    return House(
        config=config,
        catalogue=names,
        cards=cards,
        resolver=Resolver(names, cards, measures, config.server.system_prompt),
        measures=measures,
        gate=stays.gate,
        dispatcher=Dispatcher(adapters, config.routing, stays.health, mark=stays.books.mark),
        books=stays.books,
        adapters=adapters,
        rules=rules_of(config, names, file),
    )


def _built(builder: Builder, name: str, options: Any, file: str) -> Adapter:
    """An adapter, or the ConfigError that tells what of its options cannot be (an address, a certificate file)."""
    where = "upstreams." + dotted((name,))
    try:
        return builder(name, options)
    except ConfigError as error:
        raise error.placed(file, where) from None
    except (ValueError, OSError) as error:
        raise ConfigError(str(error), file=file, where=where, expected="options that can be used") from None


def unchanged(old: House, config: Config) -> dict[str, Adapter]:
    """The adapters whose upstream's options are as they were."""
    return {
        name: adapter
        for name, adapter in old.adapters.items()
        if name in config.upstreams and config.upstreams[name] == old.config.upstreams[name]
    }


def warnings(house: House) -> list[str]:
    """What is not wrong and still worth a line: upstreams that cannot be used, models without a price."""
    return notes(house.config, house.catalogue)


def notes(config: Config, names: catalogue.Catalogue | None = None, *, file: str = "") -> list[str]:
    """As `warnings`, of a configuration that is not wired. Raises ConfigError as `catalogue.build` does."""
    names = names or catalogue.build(config, file=file)
    lines = [
        f"upstream {name!r} is unavailable: {missing}"
        for name, options in config.upstreams.items()
        if (missing := options.missing())
    ]
    if unpriced := catalogue.unpriced(names):
        lines.append(f"no price is known for {', '.join(unpriced)}: such calls have no amount in the ledger")
    return lines
