"""A fair limit: the queue's order, giving up, and the turn in which both happen."""

import asyncio
import math

import pytest

from adapters._http.errors import TransportError
from adapters._http.slots import Slots

pytestmark = pytest.mark.asyncio


def slots(limit: int) -> Slots:
    return Slots(asyncio.get_running_loop(), limit)


async def settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_first_come_first_served() -> None:
    """Each release lets exactly the next one in."""
    lot, order = slots(1), []
    await lot.acquire(math.inf, math.inf)

    async def one(n: int) -> None:
        await lot.acquire(math.inf, math.inf)
        order.append(n)

    tasks = [asyncio.create_task(one(n)) for n in range(4)]
    await settle()
    assert (order, lot.waiting) == ([], 4)
    for n in range(4):
        lot.release()
        await settle()
        assert order == list(range(n + 1))
    await asyncio.gather(*tasks)


async def test_a_newcomer_does_not_overtake() -> None:
    """A slot that is granted but not yet taken is not free."""
    lot = slots(1)
    await lot.acquire(math.inf, math.inf)
    waiter = asyncio.create_task(lot.acquire(math.inf, math.inf))
    await settle()
    lot.release()
    with pytest.raises(TransportError, match="pool_timeout"):
        await lot.acquire(0.01, math.inf)
    await waiter


@pytest.mark.parametrize(("wait_s", "total_s", "kind"), [(0.01, 9, "pool_timeout"), (9, 0.01, "total_timeout")])
async def test_giving_up(wait_s: float, total_s: float, kind: str) -> None:
    """By whichever clock is first; the place in the queue is gone."""
    lot = slots(0)
    with pytest.raises(TransportError) as caught:
        await lot.acquire(wait_s, asyncio.get_running_loop().time() + total_s)
    assert (caught.value.kind, caught.value.sent, lot.waiting) == (kind, False, 0)


async def test_cancelled_in_the_turn_of_the_grant() -> None:
    """The slot goes to the next one, not into the void."""
    lot = slots(1)
    await lot.acquire(math.inf, math.inf)
    first = asyncio.create_task(lot.acquire(math.inf, math.inf))
    second = asyncio.create_task(lot.acquire(math.inf, math.inf))
    await settle()
    lot.release()  # granted to the first ...
    first.cancel()  # ... who never wakes to take it
    await asyncio.wait_for(second, 1)
    with pytest.raises(asyncio.CancelledError):
        await first
    lot.release()
    await asyncio.wait_for(lot.acquire(math.inf, math.inf), 1)


async def test_cancelled_while_waiting() -> None:
    """Nothing is left, and nothing is granted to it."""
    lot = slots(1)
    await lot.acquire(math.inf, math.inf)
    waiter = asyncio.create_task(lot.acquire(math.inf, math.inf))
    await settle()
    waiter.cancel()
    await settle()
    assert lot.waiting == 0
    lot.release()
    await asyncio.wait_for(lot.acquire(math.inf, math.inf), 1)


async def test_closing() -> None:
    """Who waits and who comes."""
    lot = slots(1)
    await lot.acquire(math.inf, math.inf)
    waiter = asyncio.create_task(lot.acquire(math.inf, math.inf))
    await settle()
    lot.close()
    for doomed in (waiter, lot.acquire(math.inf, math.inf)):
        with pytest.raises(TransportError, match="closed"):
            await doomed
