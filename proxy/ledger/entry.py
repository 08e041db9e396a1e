"""A call as it ended, in the words of the stages: what is put into the journal, and of which the row is reckoned later.

The row of a call has 35 columns, half of them arithmetic. Reckoned one by one between two answers that costs more than all
the rest of the books; many in a row cost a third. So an answer waits for the facts only. Pure; it knows no table.
"""

from functools import lru_cache
from typing import Any

import msgspec

from proxy.call import Attempt, Operation, Served, Target
from proxy.ledger.prices import Price, charge
from proxy.ledger.row import Row

_encode = msgspec.json.Encoder().encode


class Entry(msgspec.Struct, array_like=True, tag="entry", gc=False):
    """Nothing in it changes any more. `started` and `ended` are seconds of one clock, which began at any time; `served` has the
    usage that is billed; `price` is the model's of that moment, None if it has none; `unit` is what images are counted in."""

    call_id: str
    key_id: str
    operation: Operation
    model: str
    stream: bool
    attempts: list[Attempt]
    served: Served
    started: float
    ended: float
    created_us: int
    version: str
    price: Price | None
    unit: str


def row_of(entry: Entry) -> Row:
    return Row(*values_of(entry))


def values_of(entry: Entry) -> tuple[Any, ...]:
    """Its row, in the order of the columns: there are 35 of them, and this runs for every call."""
    served, attempts, started = entry.served, entry.attempts, entry.started
    usage = served.usage
    assert usage is not None
    cost = charge(entry.price, entry.version, usage, entry.unit)
    first, last = attempts[0], attempts[-1]
    total_us = int((entry.ended - started) * 1e6)
    ttft_ms = None
    if last.error is None and last.ms is not None:
        ttft_ms = int((last.started - started) * 1e6 + last.ms * 1e3) / 1e3
    return (
        entry.call_id,
        entry.key_id,
        entry.operation._value_,
        entry.model,
        last.target.upstream,
        last.target.model,
        entry.created_us,
        entry.created_us + total_us,
        served.ending._value_,
        entry.stream,
        served.error,
        _tries(attempts),
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.cached_tokens,
        usage.reasoning_tokens,
        usage.characters,
        usage.images,
        usage.source._value_,
        cost.version,
        "USD",
        cost.input_micro,
        cost.cached_micro,
        cost.output_micro,
        cost.unit_micro,
        cost.amount_micro,
        cost.input_price,
        cost.cached_price,
        cost.output_price,
        cost.unit_price,
        cost.unit,
        int((first.started - started) * 1e6) / 1e3,
        ttft_ms,
        total_us / 1e3,
        served.sent,
    )


def _tries(attempts: list[Attempt]) -> str:
    """JSON: each attempt with its target, why it was made, why it was left, and how long it took."""
    one = attempts[0]
    if len(attempts) == 1 and one.error is None and one.ms is not None:
        return f"{first_try(one.target, one.reason)}{one.ms:.3f}}}]"
    return _encode([_try(a.target, a.reason, a.error, a.ms) for a in attempts]).decode()


def _try(target: Target, reason: str, error: str | None, ms: float | None) -> dict[str, object]:
    return {"target": str(target), "reason": reason, "error": error, "ms": None if ms is None else round(ms, 3)}


@lru_cache(maxsize=1024)
def first_try(target: Target, reason: str) -> str:
    """The text of nearly every call's attempts, up to its time: one that was all it needed."""
    return _encode([_try(target, reason, None, 0)]).decode().removesuffix("0}]")
