"""The books: what a row says about a call (Metered itself: test_pipeline; the ledger: tests/contract/test_ledger)."""

import json
from typing import Any

import msgspec
import pytest

from proxy.account import Books
from proxy.call import Attempt, Call, Dialect, Ending, Operation, Plan, Principal, Served, Target, Usage, UsageSource
from proxy.catalogue import Model
from proxy.config import Pricing
from proxy.features import Features
from proxy.ledger.entry import Entry, row_of
from proxy.ledger.prices import PriceTable
from proxy.ledger.row import Row
from proxy.wire.chat import ChatRequest, Message

TARGET = Target("up", "far-m")
PLAIN = 77  # frames of a call that this ledger takes for a plain one


class Ledger:
    def __init__(self) -> None:
        self.said: list[tuple[str, Any]] = []

    def enter(self, call: Call, target: Target, created_us: int, prices: PriceTable) -> None:
        self.said.append(("enter", (call.id, target, created_us, prices)))

    def finish(self, call: Call, served: Served, ended: float) -> bool:
        self.said += [("finish", ended)] if served.frames == PLAIN else []
        return served.frames == PLAIN

    def forget(self, call_id: str) -> None:
        self.said.append(("forget", call_id))

    def put(self, entry: Entry) -> None:
        self.said.append(("settle", row_of(entry)))

    def settle_later(self, row: Entry) -> None:
        self.said.append(("later", row))


class Rules(msgspec.Struct):
    prices: PriceTable


class Keeper(msgspec.Struct):
    ledger: Any
    rules: Rules


def keeper(price: Pricing | None = Pricing(input_usd=1.0, output_usd=2.0), *, ledger: bool = True) -> Keeper:  # noqa: B008
    return Keeper(Ledger() if ledger else None, Rules(PriceTable({"m": price})))


def call(*, tried: bool = True) -> Call:
    made = Call(
        id="c", operation=Operation.CHAT, dialect=Dialect.OPENAI, request=ChatRequest("m", [Message("user", "x" * 40)]),
        raw=b"r" * 40, fields={}, principal=Principal("k"), stream=True,
    )  # fmt: skip
    model = Model(id="m", type="text", name="m", targets=(TARGET,))
    made.plan = Plan(model, model.targets, "m", "id", Features({}))
    if tried:
        made.attempts.append(Attempt(Target("near", "m"), error="upstream_error", started=made.started + 0.1, ms=50.0))
        made.attempts.append(Attempt(TARGET, "fallback:503", started=made.started + 0.2, ms=30.0))
    return made


def row(keeper: Keeper, served: Served) -> Row:
    books = Books(keeper)
    found = books.bill(call(), served).row
    assert found is not None
    return row_of(found)


def test_a_calls_life_in_the_ledger() -> None:
    here = keeper()
    books, made = Books(here), call()
    books.mark(made, TARGET)
    assert books.settle(books.bill(made, Served(Usage(3, 4), Ending.FINISHED))) is None
    books.later(books.bill(made, Served(None, Ending.CANCELLED)))
    books.forget(made)
    kinds = [kind for kind, _ in here.ledger.said]
    assert kinds == ["enter", "settle", "later", "forget"]
    call_id, target, created_us, prices = here.ledger.said[0][1]
    assert (call_id, target, prices) == ("c", TARGET, here.rules.prices)
    written = here.ledger.said[1][1]
    assert abs(written.created_us - created_us) < 1_000_000


def test_what_the_ledger_takes_as_plain_is_booked_at_once() -> None:
    here = keeper()
    books, made = Books(here), call()
    bill = books.bill(made, Served(Usage(3, 4), Ending.FINISHED, PLAIN))
    assert bill.row is None
    assert books.settle(bill) is None
    books.later(bill)
    ((kind, ended),) = here.ledger.said
    assert kind == "finish"
    assert ended >= made.started
    assert bill.amount_micro == 3 + 2 * 4, "limits and budgets hear of it all the same"


def test_a_row_says_all_there_is() -> None:
    here = keeper()
    usage = Usage(10, 5, cached_tokens=4, reasoning_tokens=2)
    said = row(here, Served(usage, Ending.FINISHED, frames=3, sent=900))
    assert (said.upstream, said.target, said.ending, said.stream, said.bytes_out) == (
        "up",
        "far-m",
        "finished",
        True,
        900,
    )
    assert json.loads(said.attempts) == [
        {"target": "near/m", "reason": "first", "error": "upstream_error", "ms": 50.0},
        {"target": "up/far-m", "reason": "fallback:503", "error": None, "ms": 30.0},
    ]
    assert (said.queue_ms, said.ttft_ms) == (pytest.approx(100, abs=1), pytest.approx(230, abs=1))
    assert said.total_ms is not None
    assert said.total_ms >= 0
    assert (said.prompt_tokens, said.completion_tokens, said.cached_tokens, said.usage_source) == (10, 5, 4, "upstream")
    assert (said.input_micro, said.cached_micro, said.output_micro, said.amount_micro) == (6, 4, 10, 20)
    assert said.price_version == here.rules.prices.version


def test_an_unknown_price_is_null() -> None:
    said = row(keeper(None), Served(Usage(10, 5), Ending.FINISHED))
    assert said.amount_micro is None
    assert said.prompt_tokens == 10


def test_cancelled_calls_pay_for_what_was_produced() -> None:
    said = row(keeper(), Served(None, Ending.CANCELLED, frames=6, sent=4000))
    assert said.usage_source == UsageSource.ESTIMATE
    assert (said.prompt_tokens, said.completion_tokens) == (10, 20)
    assert said.amount_micro == 10 + 2 * 20


def test_an_upstream_that_produced_nothing_is_not_paid() -> None:
    said = row(keeper(), Served(None, Ending.FAILED, error="upstream_error"))
    assert (said.amount_micro, said.error, said.ending) == (0, "upstream_error", "failed")
    said = row(keeper(), Served(Usage(10, 5), Ending.FAILED, frames=2, error="upstream_error"))
    assert said.amount_micro == 20


def test_without_a_ledger_the_books_are_in_memory() -> None:
    seen: list[tuple[str, Usage | None]] = []
    books = Books(keeper(ledger=False), lambda call, served: seen.append((call.id, served.usage)))
    made = call()
    books.mark(made, TARGET)
    for ending in (Ending.FAILED, Ending.CANCELLED, Ending.FINISHED):
        assert books.settle(books.bill(made, Served(Usage(1, 2), ending, 3))) is None
    books.forget(made)
    assert books.endings == {
        Ending.FINISHED: 1, Ending.CANCELLED: 1, Ending.FAILED: 1, Ending.INTERRUPTED: 0}  # fmt: skip
    assert seen == [("c", Usage(1, 2))] * 3
