"""What those who run the server ask: /livez, /readyz, /health, /metrics, and the admin's reload."""

from proxy import __version__
from proxy.errors import NotSupported, Unavailable
from routes._endpoint import Answer, Desk
from routes._inbound import Inbound


async def live(inbound: Inbound, desk: Desk) -> Answer:
    """The process answers."""
    del inbound, desk
    return Answer({"status": "ok"})


async def ready(inbound: Inbound, desk: Desk) -> Answer:
    """It takes calls: it is not draining, and at least one upstream can be used."""
    del inbound
    house = desk.house
    if getattr(house.gate, "draining", False):
        raise Unavailable("The server is shutting down.", code="draining", retry_after_s=2)
    if house.cards and all(card.missing for card in house.cards.values()):
        raise Unavailable("No upstream is available.", code="no_upstream", retry_after_s=30)
    return Answer({"status": "ok"})


async def health(inbound: Inbound, desk: Desk) -> Answer:
    """As `ready`, with the state of each upstream and of the ledger; 200 as long as the process answers."""
    del inbound
    house, ledger = desk.house, desk.accounts.ledger
    upstreams = {name: card.missing or "configured" for name, card in house.cards.items()}
    kept = "off" if ledger is None else "behind" if ledger.behind or ledger.trouble else "ok"
    return Answer(
        {
            "status": "ok",
            "version": __version__,
            "models": len(house.catalogue.models),
            "upstreams": upstreams,
            "ledger": kept,
        }
    )


async def metrics(inbound: Inbound, desk: Desk) -> Answer:
    del inbound
    desk.metrics.running.set(getattr(desk.house.gate, "running", 0))
    for name, value in desk.accounts.state().items():
        desk.metrics.states[name].set(value)
    return Answer(desk.metrics.exposition(), content_type="text/plain; version=0.0.4; charset=utf-8")


async def reload(inbound: Inbound, desk: Desk) -> Answer:
    """Build and check a new snapshot beside the old one, and swap. A broken file changes nothing and says what is wrong."""
    del inbound
    if desk.reload is None:
        raise NotSupported("This server was started without a configuration file.")
    return Answer({"status": "reloaded", "warnings": await desk.reload()})
