"""The sentence that every call walks: resolve → admit → dispatch → stream → account.

Streaming and non-streaming are the same call: a Reply gives frames, one or many. A handler decodes a head, calls `run`,
and hands the Reply to the one sender (`routes/_send.py`), which closes it, whatever happens.
"""

import asyncio
from collections.abc import Callable, Mapping

import msgspec

from proxy.account import Metered
from proxy.accounts import NO_RULES, Rules
from proxy.call import Call, Ending
from proxy.catalogue import Catalogue
from proxy.config import Config
from proxy.ports import Adapter, Bookkeeper, Gate, Opener, Planner
from proxy.resolve import Card
from proxy.traits import Measures


class House(msgspec.Struct):
    """One snapshot of configuration, wired. A reload builds another beside it; running calls keep theirs to their end."""

    config: Config
    catalogue: Catalogue
    cards: Mapping[str, Card]  # what each upstream can do, and why it cannot be used if so
    resolver: Planner
    measures: Measures
    gate: Gate
    dispatcher: Opener
    books: Bookkeeper
    adapters: Mapping[str, Adapter]
    rules: Rules = NO_RULES  # what this snapshot says about limits and prices
    running: int = 0
    empty: Callable[[], None] | None = None  # called once the last call has left a house that was replaced

    def enter(self) -> None:
        self.running += 1

    def leave(self) -> None:
        self.running -= 1
        if self.running == 0 and self.empty is not None:
            self.empty()


async def run(call: Call, house: House) -> Metered:
    """Walk one call through the house. What it returns is running, and must be closed.

    Raises:
        TraghettoError: before the first frame, so that the caller still gets a status.
    """
    call.plan = house.resolver.plan(call)  # pure: name → ordered targets
    permit = await house.gate.admit(call)  # key, budget, rate, slot; or raises
    try:
        reply = await house.dispatcher.open(call)  # retry and fallback end at the first frame
    except BaseException as error:
        left = isinstance(error, asyncio.CancelledError)
        permit.cancel(Ending.CANCELLED if left else Ending.FAILED)  # nothing was served: the reservation goes back
        raise
    return house.books.metered(reply, permit)  # leaving it settles the permit exactly once
