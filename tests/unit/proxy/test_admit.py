"""The gate: what a call reserves, what it gives back, how it is refused; each permit has one effect, whatever comes first."""

import asyncio
import itertools
from typing import Any

import msgspec
import pytest

from proxy.accounts import Accounts, Rules
from proxy.admit import Gate
from proxy.call import Attempt, Call, Dialect, Ending, Operation, Plan, Principal, Served, Target, Usage
from proxy.catalogue import Model
from proxy.config import Config, Limit, Pricing
from proxy.errors import BudgetSpent, RateExceeded, Unavailable
from proxy.features import Features
from proxy.ledger.prices import PriceTable
from proxy.limits.memory import MemoryStore
from proxy.limits.reference import Bucket, Measure
from proxy.limits.store import Refusal
from proxy.ports import Permit
from proxy.tiers import Tiers
from proxy.wire.chat import ChatRequest, Message

KEY = Principal("k")
PRICE = Pricing(input_usd=1.0, output_usd=2.0)  # a token in is one micro-USD, one out is two


class Bill(msgspec.Struct):
    usage: Usage
    amount_micro: int | None
    row: str = "a row"


class Ends:
    """Books that keep what they were told."""

    def __init__(self, *, fails: bool = False) -> None:
        self.told: list[tuple[str, Ending]] = []
        self.amount: int | None = 7
        self.hold: asyncio.Event | None = None
        self.fails = fails

    def bill(self, call: Call, served: Served) -> Any:
        self.served = served
        return Bill(served.usage or Usage(), self.amount)

    async def settle(self, bill: Any) -> None:
        if self.hold is not None:
            await self.hold.wait()
        if self.fails:
            raise Unavailable("no")
        self.told.append(("settle", self.served.ending))

    def later(self, bill: Any) -> None:
        self.told.append(("later", self.served.ending))

    def forget(self, call: Call) -> None:
        self.told.append(("forget", Ending.FAILED))


def call(principal: Principal = KEY, *, tried: bool = True, limit: int | None = 10, **more: Any) -> Call:
    operation = more.pop("operation", Operation.CHAT)
    request: Any = ChatRequest("m", [Message("user", "x" * 400)], max_tokens=limit, n=more.pop("n", None))
    made = Call(
        id="c", operation=operation, dialect=more.pop("dialect", Dialect.OPENAI), request=more.pop("request", request),
        raw=b"r" * 400, fields={}, principal=principal,
    )  # fmt: skip
    model = Model(id="m", type="text", name="m", targets=(Target("up", "m"),), **more)
    made.plan = Plan(model, model.targets, "m", "id", Features({}))
    if tried:
        made.attempts.append(Attempt(Target("up", "m")))
    return made


def gate(
    limit: Limit | None = None, *, price: Pricing | None = PRICE, ends: Ends | None = None, free: bool = False
) -> tuple[Gate, Accounts, Ends]:
    rows = {} if limit is None else {"default": {"text": limit}}
    rules = Rules(Tiers(rows), PriceTable({"m": price}), frozenset({"up"} if free else ()))
    accounts = Accounts(Config(), rules=rules)
    ends = ends or Ends()
    return Gate(ends, accounts), accounts, ends


def left(accounts: Accounts, measure: Measure, capacity: int) -> int:
    return accounts.store.peek(Bucket("k", "m", measure, capacity))


async def settled(permit: Permit, usage: Usage | None) -> None:
    waiting = permit.settle(Served(usage, Ending.FINISHED))
    if waiting is not None:
        await waiting


def told(call: Call) -> dict[str, str]:
    assert not call.told or call.told.endswith(b"\r\n")
    return dict(line.split(": ") for line in call.told.decode().split("\r\n")[:-1])


async def done(permit: Permit, what: str) -> None:
    if what == "cancel":
        permit.cancel(Ending.CANCELLED)
    elif what == "settle":
        await settled(permit, None)
    else:
        permit.abandon(Served(None, Ending.FAILED))


@pytest.mark.asyncio
@pytest.mark.parametrize("order", list(itertools.permutations(["cancel", "settle", "abandon"])))
@pytest.mark.parametrize("limit", [None, Limit(rpm=10, concurrent=1)])
async def test_only_the_first_has_an_effect(order: tuple[str, ...], limit: Limit | None) -> None:
    here, accounts, ends = gate(limit)
    permit = await here.admit(call())
    assert here.running == 1
    for what in (*order, *order):
        await done(permit, what)
    first = {
        "cancel": ("later", Ending.CANCELLED), "settle": ("settle", Ending.FINISHED), "abandon": ("later", Ending.FAILED)
    }[order[0]]  # fmt: skip
    assert ends.told == [first]
    assert here.running == 0
    if limit:
        assert left(accounts, Measure.CONCURRENT, 1) == 1


@pytest.mark.asyncio
async def test_a_call_that_reached_nobody_is_not_booked_and_has_spent_nothing() -> None:
    here, accounts, ends = gate(Limit(rpm=10, tpm=1000))
    never = await here.admit(call(tried=False))
    never.cancel(Ending.FAILED)
    assert ends.told == [], "it was never announced"
    tried = call()
    tried.attempts[0].reached = False
    permit = await here.admit(tried)
    permit.cancel(Ending.FAILED)
    assert ends.told == [("forget", Ending.FAILED)]
    assert (left(accounts, Measure.RPM, 10), left(accounts, Measure.TPM, 1000)) == (10, 1000)


@pytest.mark.asyncio
async def test_nobody_is_admitted_while_it_drains() -> None:
    here, _, _ = gate()
    here.draining = True
    with pytest.raises(Unavailable) as caught:
        await here.admit(call())
    assert caught.value.retry_after_s == 2
    assert here.running == 0


@pytest.mark.asyncio
async def test_all_buckets_are_taken_and_settled_on_what_was_used() -> None:
    here, accounts, _ = gate(Limit(rpm=10, rpd=20, tpm=1000, concurrent=3))
    one = call(limit=100)
    permit = await here.admit(one)
    taken = 1000 - left(accounts, Measure.TPM, 1000)
    assert 100 + 50 < taken < 100 + 400, "the prompt and max_tokens"
    assert [left(accounts, m, c) for m, c in ((Measure.RPM, 10), (Measure.RPD, 20), (Measure.CONCURRENT, 3))] == [
        9,
        19,
        2,
    ]
    assert told(one)["x-ratelimit-limit-tokens"] == "1000"
    await settled(permit, Usage(30, 12))
    assert left(accounts, Measure.TPM, 1000) == 1000 - 42
    assert left(accounts, Measure.CONCURRENT, 3) == 3
    assert left(accounts, Measure.RPM, 10) == 9, "a request that was sent stays spent"


@pytest.mark.asyncio
async def test_tokens_of_an_answer_that_nobody_bounded() -> None:
    here, accounts, _ = gate(Limit(tpm=100_000))
    await here.admit(call(limit=None))
    assert 4096 < 100_000 - left(accounts, Measure.TPM, 100_000) < 4096 + 400
    here, accounts, _ = gate(Limit(tpm=1000))
    permit = await here.admit(call(limit=None))
    assert left(accounts, Measure.TPM, 1000) == 0, "as much as could ever pass"
    permit.abandon(Served(Usage(100, 1100), Ending.FINISHED))
    assert left(accounts, Measure.TPM, 1000) < 0, "the next ones wait for what it used beyond that"


@pytest.mark.asyncio
async def test_the_429_says_when_it_would_pass_and_the_log_has_it() -> None:
    here, accounts, ends = gate(Limit(rpm=1))
    await here.admit(call())
    with pytest.raises(RateExceeded) as caught:
        await here.admit(call())
    assert caught.value.retry_after_s == pytest.approx(60, abs=1)
    assert caught.value.should_retry is None
    assert dict(caught.value.headers)["x-ratelimit-remaining-requests"] == "0"
    assert here.running == 1
    assert ends.told == []
    (hit,) = await accounts.hits.last()
    assert (hit.key_id, hit.model, hit.measure, hit.need, hit.have) == ("k", "m", "RPM", 1, 0)


@pytest.mark.asyncio
async def test_what_can_never_pass_says_so() -> None:
    here, _, _ = gate(Limit(tpm=50))
    with pytest.raises(RateExceeded, match="tokens per minute") as caught:
        await here.admit(call(limit=100))
    assert caught.value.should_retry is False
    assert caught.value.retry_after_s is None


@pytest.mark.asyncio
async def test_a_budget_reserves_the_worst_and_pays_what_it_cost() -> None:
    key = Principal("k", usd_micro=1000)
    here, accounts, ends = gate()
    first = call(key, limit=100, dialect=Dialect.VENICE)
    permit = await here.admit(first)
    assert told(first)["x-venice-balance-usd"] == "0.001", "before the call"
    with pytest.raises(BudgetSpent) as caught:
        await here.admit(call(key, limit=400))
    assert caught.value.status == 402
    assert [hit.measure for hit in await accounts.hits.last()] == ["BUDGET"]
    ends.amount = 7
    await settled(permit, Usage(1, 3))
    later = call(key, limit=400, dialect=Dialect.VENICE)
    await here.admit(later)
    assert told(later)["x-venice-balance-usd"] == "0.000993"


@pytest.mark.asyncio
async def test_a_price_that_is_not_known() -> None:
    key = Principal("k", usd_micro=1000)
    here, _, _ = gate(price=None)
    with pytest.raises(BudgetSpent, match="not known"):
        await here.admit(call(key))
    here, _, ends = gate(price=None, free=True)
    ends.amount = None
    permit = await here.admit(call(key))
    await settled(permit, Usage(1, 3))
    assert (await here.admit(call(key))) is not None


@pytest.mark.asyncio
async def test_a_store_that_cannot_be_asked_is_a_503() -> None:
    class Gone(MemoryStore):
        def quick(self, *what: Any) -> Any:
            return None

        def reserve_now(self, asks: Any) -> Any:
            return None

        async def reserve(self, asks: Any) -> Any:
            return Refusal((), unreachable=True)

    here, accounts, _ = gate(Limit(rpm=1))
    accounts.store = Gone()
    with pytest.raises(Unavailable) as caught:
        await here.admit(call())
    assert caught.value.status == 503
    assert here.running == 0


@pytest.mark.asyncio
async def test_a_permit_that_is_cut_off_while_it_settles_gives_back_all_the_same() -> None:
    ends = Ends()
    ends.hold = asyncio.Event()
    here, accounts, _ = gate(Limit(tpm=1000, concurrent=1), ends=ends)
    permit = await here.admit(call(limit=100))
    task = asyncio.create_task(settled(permit, Usage(1, 1)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (left(accounts, Measure.TPM, 1000), left(accounts, Measure.CONCURRENT, 1)) == (998, 1)
    assert here.running == 0


@pytest.mark.asyncio
async def test_where_the_books_need_no_time_nothing_waits() -> None:
    class Quick(Ends):
        def settle(self, bill: Any) -> None:
            self.told.append(("settle", self.served.ending))

    ends = Quick()
    here, accounts, _ = gate(Limit(tpm=1000, concurrent=1), ends=ends)
    permit = await here.admit(call(limit=100))
    assert permit.settle(Served(Usage(1, 1), Ending.FINISHED)) is None
    assert ends.told == [("settle", Ending.FINISHED)]
    assert (left(accounts, Measure.TPM, 1000), left(accounts, Measure.CONCURRENT, 1)) == (998, 1)


@pytest.mark.asyncio
async def test_books_that_take_no_more_are_heard() -> None:
    here, accounts, _ = gate(Limit(concurrent=1), ends=Ends(fails=True))
    permit = await here.admit(call())
    with pytest.raises(Unavailable):
        await settled(permit, Usage(1, 1))
    assert left(accounts, Measure.CONCURRENT, 1) == 1


@pytest.mark.asyncio
async def test_where_no_limit_applies_nobody_is_asked() -> None:
    here, accounts, _ = gate()
    accounts.store = None  # type: ignore[assignment]
    free = call()
    permit = await here.admit(free)
    assert told(free) == {}
    await settled(permit, None)
    assert here.running == 0


def test_a_preview_reserves_nothing() -> None:
    here, accounts, _ = gate(Limit(rpm=3, tpm=1000))
    seen = here.preview(call(limit=2000), prompt=10)
    assert seen == {
        "would_pass": False,
        "checked": [
            {"type": "RPM", "limit": 3, "need": 1, "have": 3},
            {"type": "TPM", "limit": 1000, "need": 2010, "have": 1000},
        ],
    }
    assert left(accounts, Measure.RPM, 3) == 3
