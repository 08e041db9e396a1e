"""Plain calls: one attempt, no error, finished, and its tokens counted by the upstream, as nearly all are. What such calls of
one key for one model have in common is put together once (`Terms`); of each there are nine numbers left (`Facts`).

It says the same as `entry.py`, for which any call will do, and a test holds them against each other: reckoning a row from
its Facts costs a third. Pure; it knows no table and no journal.
"""

from typing import Any

import msgspec

from proxy.call import Attempt, Call, Ending, Operation, Served, Target, Usage, UsageSource
from proxy.ledger.entry import Entry, first_try
from proxy.ledger.prices import Price, PriceTable, charge, token_lines
from proxy.ledger.row import Mark

Values = tuple[Any, ...]
FIRST, UNIT = "first", "image-unit"
MOST = 4096  # Terms that are kept in mind
_FINISHED, _UPSTREAM = Ending.FINISHED, UsageSource.UPSTREAM


class Said(msgspec.Struct, frozen=True, array_like=True):
    """Terms as the journal keeps them."""

    key_id: str
    operation: Operation
    model: str
    stream: bool
    upstream: str
    target: str
    version: str
    price: Price | None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Said).decode


# what is a plain call's own, beside its id and the wall's time at its beginning: when it began, when it ended and when its
# attempt began (seconds of one clock), ms until the upstream's first byte; tokens of the prompt, of the answer, cached and
# reasoning ones; bytes sent
Facts = tuple[float, float, float, float, int, int, int, int, int]


class Terms:
    """`shared` are the values of the columns that say so in `tables.py`, in their order; `text` is for the journal."""

    __slots__ = ("_price", "_tried", "said", "shared", "text")

    def __init__(self, said: Said) -> None:
        self.said = said
        self.text = _encode(said)
        self._price = said.price
        self._tried = first_try(Target(said.upstream, said.target), FIRST)
        cost = charge(said.price, said.version, Usage(), UNIT)
        self.shared: Values = (
            said.key_id,
            said.operation._value_,
            said.model,
            said.upstream,
            said.target,
            _FINISHED._value_,
            said.stream,
            None,
            0,
            0,
            _UPSTREAM._value_,
            said.version,
            "USD",
            cost.unit_micro,
            cost.input_price,
            cost.cached_price,
            cost.output_price,
            cost.unit_price,
            cost.unit,
        )

    @classmethod
    def read(cls, text: bytes) -> "Terms":
        """Raises msgspec.DecodeError."""
        return cls(_decode(text))

    def own(self, call_id: str, created_us: int, facts: Facts) -> Values:
        """The values of the other columns, in their order."""
        began, ended, tried, ms, prompt, made, cached, reasoning, sent = facts
        total_us = int((ended - began) * 1e6)
        fresh_micro = cached_micro = made_micro = amount = None
        if self._price is not None:
            fresh_micro, cached_micro, made_micro = token_lines(self._price, prompt, cached, made)
            if fresh_micro is not None and cached_micro is not None and made_micro is not None:
                amount = fresh_micro + cached_micro + made_micro
        waited_us = (tried - began) * 1e6
        return (
            call_id,
            created_us,
            created_us + total_us,
            f"{self._tried}{ms:.3f}}}]",
            prompt,
            made,
            cached,
            reasoning,
            fresh_micro,
            cached_micro,
            made_micro,
            amount,
            int(waited_us) / 1e3,
            int(waited_us + ms * 1e3) / 1e3,
            total_us / 1e3,
            sent,
        )

    def entry(self, call_id: str, created_us: int, facts: Facts) -> Entry:
        """The call as any other: what an heir makes a row of."""
        began, ended, tried, ms, prompt, made, cached, reasoning, sent = facts
        said = self.said
        attempt = Attempt(Target(said.upstream, said.target), FIRST, started=tried, ms=ms)
        served = Served(Usage(prompt, made, cached, reasoning), _FINISHED, sent=sent)
        return Entry(
            call_id,
            said.key_id,
            said.operation,
            said.model,
            said.stream,
            [attempt],
            served,
            began,
            ended,
            created_us,
            said.version,
            said.price,
            UNIT,
        )

    def mark(self, call_id: str, created_us: int) -> Mark:
        said = self.said
        return Mark(
            call_id,
            said.key_id,
            said.operation._value_,
            said.model,
            said.upstream,
            said.target,
            created_us,
            said.version,
        )


class Known(dict[tuple[str, Operation, str, bool, Target, PriceTable], Terms]):
    """Terms by key, operation, model, whether it streams, target and prices; made when they are first asked for."""

    def __missing__(self, key: tuple[str, Operation, str, bool, Target, PriceTable]) -> Terms:
        if len(self) >= MOST:
            self.clear()
        key_id, operation, model, stream, target, prices = key
        said = Said(key_id, operation, model, stream, target.upstream, target.model, prices.version, prices.of(model))
        terms = self[key] = Terms(said)
        return terms


def facts_of(call: Call, served: Served, ended: float) -> Facts | None:
    """None: it is not a plain call."""
    usage, attempts = served.usage, call.attempts
    if len(attempts) != 1 or usage is None or served.ending is not _FINISHED or served.error is not None:
        return None
    one = attempts[0]
    if one.error is not None or one.ms is None or one.reason != FIRST:
        return None
    if usage.source is not _UPSTREAM or usage.images or usage.characters:
        return None
    return (
        call.started,
        ended,
        one.started,
        one.ms,
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.cached_tokens,
        usage.reasoning_tokens,
        served.sent,
    )
