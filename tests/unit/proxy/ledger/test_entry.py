"""What a row is reckoned of: it may wait in a journal, and another process may reckon it."""

import json

import msgspec
import pytest

from proxy.call import Attempt, Ending, Operation, Served, Target, Usage, UsageSource
from proxy.config import Pricing
from proxy.ledger.entry import Entry, row_of
from proxy.ledger.prices import PriceTable
from proxy.ledger.row import Row

TABLE = PriceTable({"m": Pricing(input_usd=1.0, output_usd=2.0), "v": Pricing(generation_usd=0.01, upscale_4x_usd=0.5)})


def entry(model: str = "m", usage: Usage | None = None, **more: object) -> Entry:
    attempts = [Attempt(Target("near", "m"), error="upstream_error", started=10.1, ms=50.0),
                Attempt(Target("up", "far-m"), "fallback:503", started=10.2, ms=30.0)]  # fmt: skip
    served = Served(usage or Usage(10, 5, cached_tokens=4), Ending.FINISHED, 3, 900)
    given = Entry(
        "c1", "k", Operation.CHAT, model, True, attempts, served, 10.0, 10.5, 1_700_000_000_000_000,
        TABLE.version, TABLE.of(model), "image-unit",
    )  # fmt: skip
    return msgspec.structs.replace(given, **more)


def test_what_is_read_back_makes_the_same_row() -> None:
    for one in (entry(), entry("nobody knows"), entry("v", Usage(images=2, source=UsageSource.ESTIMATE))):
        back = msgspec.msgpack.decode(msgspec.msgpack.encode(one), type=Row | Entry)
        assert isinstance(back, Entry)
        assert row_of(back) == row_of(one)


def test_times_and_attempts() -> None:
    row = row_of(entry())
    assert (row.queue_ms, row.ttft_ms, row.total_ms) == pytest.approx((100, 230, 500), abs=0.002)
    assert row.settled_us - row.created_us == 500_000
    assert (row.upstream, row.target) == ("up", "far-m")
    assert [one["error"] for one in json.loads(row.attempts)] == ["upstream_error", None]
    one = entry(attempts=[Attempt(Target("up", "m"), started=10.0, ms=1.23456)])
    assert json.loads(row_of(one).attempts) == [{"target": "up/m", "reason": "first", "error": None, "ms": 1.235}]
    lost = entry(attempts=[Attempt(Target("up", "m"), error="cut", started=10.0, ms=1.0)])
    assert row_of(lost).ttft_ms is None


def test_prices_are_those_of_the_call() -> None:
    row = row_of(entry())
    assert (row.input_micro, row.cached_micro, row.output_micro, row.amount_micro) == (6, 4, 10, 20)
    assert (row.price_version, row.output_price) == (TABLE.version, 2_000_000_000)
    assert row_of(entry("nobody knows")).amount_micro is None
    large = row_of(entry("v", Usage(images=1), unit="upscale-4x-unit"))
    assert (large.amount_micro, large.unit, large.unit_price) == (500_000, "upscale-4x-unit", 500_000_000)
