"""Who goes next."""

import dataclasses
import itertools
import random

from adapters.llama.fairness import AGE_S, FairQueue

_order = itertools.count()


@dataclasses.dataclass(eq=False)
class Call:
    tenant: str
    cost: int = 100
    priority: int = 0
    queued_at: float = 0.0
    number: int = dataclasses.field(default_factory=lambda: next(_order))


def _drain(queue: FairQueue[Call], now: float = 0.0) -> list[Call]:
    out = []
    while (call := queue.peek(now)) is not None:
        queue.take(call)
        queue.settle(call, call.cost)
        out.append(call)
    return out


def test_one_key_is_first_come_first_served() -> None:
    queue: FairQueue[Call] = FairQueue()
    calls = [Call("a", cost=cost) for cost in (10, 5000, 1, 300)]
    for call in calls:
        queue.push(call)
    assert len(queue) == 4
    assert _drain(queue) == calls
    assert len(queue) == 0
    assert queue.peek(0.0) is None


def test_keys_get_equal_tokens_whatever_the_lengths_of_their_calls() -> None:
    queue: FairQueue[Call] = FairQueue()
    had = {"long": 0, "short": 0, "middle": 0}
    costs = {"long": 1000, "short": 20, "middle": 200}
    for _ in range(400):
        for tenant, cost in costs.items():
            while sum(1 for call in queue if call.tenant == tenant) < 20:
                queue.push(Call(tenant, cost))
        call = queue.peek(0.0)
        assert call is not None
        queue.take(call)
        queue.settle(call, call.cost)
        had[call.tenant] += call.cost
    assert max(had.values()) - min(had.values()) <= 2 * 1000


def test_a_key_pays_for_what_it_generated_and_not_for_what_was_feared() -> None:
    queue: FairQueue[Call] = FairQueue()
    had = {"brief": 0, "wordy": 0}
    for _ in range(600):
        for tenant in had:
            while sum(1 for call in queue if call.tenant == tenant) < 3:
                queue.push(Call(tenant, 512))
        call = queue.peek(0.0)
        assert call is not None
        queue.take(call)
        generated = 16 if call.tenant == "brief" else 512
        queue.settle(call, generated)
        had[call.tenant] += generated
    assert 0.6 < had["brief"] / had["wordy"] < 1.4


def test_a_newcomer_is_not_behind_a_crowd() -> None:
    queue: FairQueue[Call] = FairQueue()
    for _ in range(50):
        queue.push(Call("crowd"))
    for _ in range(5):
        call = queue.peek(0.0)
        assert call is not None
        queue.take(call)
    queue.push(Call("new"))
    order = [call.tenant for call in _drain(queue)]
    assert order.index("new") <= 5


def test_priority_and_age() -> None:
    queue: FairQueue[Call] = FairQueue()
    low = Call("a", priority=1)
    queue.push(low)
    assert queue.peek(0.0) is low
    high = Call("b", queued_at=1.0)
    queue.push(high)
    assert queue.peek(1.0) is high
    queue.push(Call("c", queued_at=1.0 + AGE_S))
    queue.take(high)
    assert queue.peek(2.0 + AGE_S) is low, "an old call of low priority counts as high"


def test_the_next_call_stays_the_next() -> None:
    queue: FairQueue[Call] = FairQueue()
    first = Call("a")
    queue.push(first)
    assert queue.peek(0.0) is first
    for _ in range(20):
        queue.push(Call("b"))
        assert queue.peek(0.0) is first


def test_removal_and_credit_that_is_not_hoarded() -> None:
    rng = random.Random(1)
    queue: FairQueue[Call] = FairQueue()
    live: list[Call] = []
    for _ in range(2000):
        if rng.random() < 0.5:
            live.append(Call(rng.choice("abc"), rng.randrange(1, 600), rng.choice([0, 1])))
            queue.push(live[-1])
        elif live:
            call = live.pop(rng.randrange(len(live)))
            assert queue.remove(call)
            assert not queue.remove(call)
    assert len(queue) == len(live) == len(list(queue))
    for call in live:
        queue.remove(call)
    assert queue._credit == {}
