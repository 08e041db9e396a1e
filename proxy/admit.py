"""`admit`: the right to spend on one call, or a refusal. One Permit a call; it is settled, cancelled or abandoned once.

All buckets of a call (its tier's and its key's budget) are reserved together or not at all, before anything is sent, and
settled with what was used together with its row in the books. Where no limit applies nothing is asked and nothing waits.
"""

from collections.abc import Awaitable
from typing import Any, Protocol

import msgspec

from proxy import budgets as budget
from proxy.budgets import Budgets
from proxy.call import Call, Dialect, Ending, Operation, Served, Usage
from proxy.errors import BudgetSpent, RateExceeded, Unavailable
from proxy.estimate import most, prompt_tokens, reserved_tokens, unit_of
from proxy.ledger.prices import PriceTable
from proxy.limits.hits import HitLog, now_us
from proxy.limits.reference import Bucket, Measure
from proxy.limits.said import balance_lines, grant_lines, refusal_headers
from proxy.limits.store import Ask, Grant, LimitStore, Refusal
from proxy.ports import Permit
from proxy.tiers import Tiers

_TPM, _BUDGET = Measure.TPM, Measure.BUDGET


class Rules(Protocol):
    """What one snapshot says about limits and prices."""

    @property
    def tiers(self) -> Tiers: ...
    @property
    def prices(self) -> PriceTable: ...
    @property
    def free(self) -> frozenset[str]:
        """Upstreams that cost nobody anything."""
        ...


class Means(Protocol):
    """What limits are counted with."""

    @property
    def rules(self) -> Rules: ...
    @property
    def store(self) -> LimitStore: ...
    @property
    def hits(self) -> HitLog: ...
    @property
    def budgets(self) -> Budgets: ...


class Bill(Protocol):
    """What a call used, and what it costs in micro-USD (None: not known)."""

    @property
    def usage(self) -> Usage: ...
    @property
    def amount_micro(self) -> int | None: ...
    @property
    def row(self) -> object | None:
        """What waits to be written; None where nothing is written down."""
        ...


class Ends(Protocol):
    """Where calls are booked when they end."""

    def bill(self, call: Call, served: Served) -> Any: ...

    def settle(self, bill: Any) -> Awaitable[None] | None: ...

    def later(self, bill: Any) -> None: ...

    def forget(self, call: Call) -> None: ...


class Held(msgspec.Struct, eq=False):
    """A Permit. It holds a place among the running calls, and a Grant where limits apply."""

    _gate: "Gate"
    _call: Call
    _store: LimitStore
    _grant: Grant | None
    _budget: bool  # whether there is one in the Grant
    _open: bool = True

    def _close(self) -> bool:
        if not self._open:
            return False
        self._open = False
        self._gate.running -= 1
        return True

    def cancel(self, ending: Ending) -> None:
        if not self._close():
            return
        attempts = self._call.attempts
        if any(attempt.reached for attempt in attempts):
            self._book(Served(None, ending, error=attempts[-1].error))
            return
        if attempts:
            self._gate.ends.forget(self._call)
        if self._grant is not None:
            self._store.cancel(self._grant)

    def settle(self, served: Served) -> Awaitable[None] | None:
        if not self._close():
            return None
        bill = self._gate.ends.bill(self._call, served)
        waiting = None if bill.row is None else self._gate.ends.settle(bill)
        if waiting is not None:
            return self._settled(waiting, bill)
        self._give_back(bill)
        return None

    async def _settled(self, waiting: Awaitable[None], bill: Bill) -> None:
        try:
            await waiting
        finally:
            self._give_back(bill)

    def abandon(self, served: Served) -> None:
        if self._close():
            self._book(served)

    def _book(self, served: Served) -> None:
        bill = self._gate.ends.bill(self._call, served)
        self._gate.ends.later(bill)
        self._give_back(bill)

    def _give_back(self, bill: Bill) -> None:
        """What was reserved and not used; of a budget, all of it counts as used where nobody knows the price."""
        grant = self._grant
        if grant is None:
            return
        usage = bill.usage
        spent = {_TPM: usage.prompt_tokens + usage.completion_tokens}
        if self._budget and (amount := bill.amount_micro) is not None:
            spent[_BUDGET] = amount
        self._store.settle(grant, spent)


class Gate:
    """Admits until the server drains. `running` is the number of calls that hold a permit."""

    def __init__(self, ends: Ends, means: Means) -> None:
        self.running = 0
        self.draining = False
        self.ends = ends
        self._means = means

    async def admit(self, call: Call) -> Permit:
        """Raises RateExceeded, BudgetSpent, Unavailable (draining, or limits that nobody can count)."""
        if self.draining:
            raise Unavailable("The server is shutting down.", retry_after_s=2)
        means, key = self._means, call.principal
        assert call.plan is not None
        quota = means.rules.tiers.quota(key, call.plan.model)
        purse: Ask | None = None
        balance = b""
        limited = key.usd_micro is not None or key.diem_micro is not None or key.vcu_micro is not None
        if limited:
            purse, balance = await self._purse(call)
        store = means.store
        grant: Grant | None = None
        if quota.buckets or limited:
            counted = quota.tokens
            tokens = None if counted is None else reserved_tokens(call, counted.capacity)
            grant = store.quick(quota, tokens, purse) or await self._reserved(call, store, quota.asks(tokens, purse))
            call.told = grant_lines(quota, grant.left, call.dialect, tokens) + balance
        self.running += 1
        return Held(self, call, store, grant, limited)

    async def _reserved(self, call: Call, store: LimitStore, asks: list[Ask]) -> Grant:
        """Raises RateExceeded, BudgetSpent, Unavailable."""
        found = store.reserve_now(asks)
        if found is None:
            found = await store.reserve(asks)
        if isinstance(found, Refusal):
            raise self._refused(call, found)
        return found

    async def _purse(self, call: Call) -> tuple[Ask, bytes]:
        """The most that it can cost, and what is to be said of balances."""
        means, now = self._means, now_us()
        purse = means.budgets.bucket(call.principal, now)
        assert purse is not None
        cost = self._most_cost(call, (await prompt_tokens(call))[0])
        await means.budgets.ready(purse, now)
        venice = call.dialect is Dialect.VENICE
        return (purse, cost), balance_lines(means.budgets.left(call.principal, now)) if venice else b""

    def _most_cost(self, call: Call, prompt: int) -> int:
        """Micro-USD. Raises BudgetSpent: the price is not known."""
        assert call.plan is not None
        rules = self._means.rules
        cost = rules.prices.worst(call.plan.model.id, most(call, prompt), unit_of(call))
        if cost is not None and call.operation is not Operation.TRANSCRIPTION:
            return cost
        free = all(target.upstream in rules.free for target in call.plan.targets)
        if cost is not None:
            # how long a sound is, nobody knows before: it passes while anything is left
            return cost if free else max(cost, 1)
        if free:
            return 0  # it runs here: nobody sends a bill for it
        raise BudgetSpent(
            f"The price of {call.plan.model.id!r} is not known, and this key has a consumption limit.", param="model"
        )

    def _refused(self, call: Call, refusal: Refusal) -> RateExceeded | BudgetSpent | Unavailable:
        worst = refusal.worst
        if refusal.unreachable or worst is None:
            return Unavailable("The limits of this key cannot be checked at the moment.", retry_after_s=1)
        assert call.plan is not None
        self._means.hits.note(call.principal.id, refusal, call.plan.model.id)
        if worst.bucket.measure is Measure.BUDGET:
            return budget.refused(worst, now_us())
        wait = refusal.wait_us
        return RateExceeded(
            _told(worst.bucket, worst.need, worst.have, call.plan.model.id),
            retry_after_s=None if wait is None else wait / 1e6,
            never=wait is None,
            headers=tuple(refusal_headers(refusal, call.dialect, now_us())),
        )

    # -- without reserving

    def preview(self, call: Call, prompt: int) -> dict[str, Any]:
        """Whether the limits would let this call pass now, bucket by bucket: for `dry_run`."""
        assert call.plan is not None
        means, key = self._means, call.principal
        asks: list[Ask] = [
            (bucket, (reserved_tokens(call, bucket.capacity, prompt) or 0) if bucket.measure is Measure.TPM else 1)
            for bucket in means.rules.tiers.buckets(key, call.plan.model)
        ]
        purse = means.budgets.bucket(key, now_us())
        if purse is not None:
            asks.append((purse, self._most_cost(call, prompt)))
        checked: list[dict[str, Any]] = [
            {"type": bucket.measure.value, "limit": bucket.capacity, "need": need, "have": means.store.peek(bucket)}
            for bucket, need in asks
        ]
        return {"would_pass": all(item["need"] <= item["have"] for item in checked), "checked": checked}


def _told(bucket: Bucket, need: int, have: int, model: str) -> str:
    names = {
        Measure.RPM: "requests per minute",
        Measure.RPD: "requests per day",
        Measure.TPM: "tokens per minute",
        Measure.CONCURRENT: "calls at once",
    }
    return (
        f"Rate limit reached for {model!r}: {bucket.capacity} {names.get(bucket.measure, bucket.measure.value)}; "
        f"this call needs {need}, and {max(0, have)} are left."
    )
