"""The workshop holds its budget and the order, starts nothing for callers that left, keeps no failed job's data."""

import asyncio
import gc
import threading
import weakref

import pytest

from proxy.errors import Unavailable
from proxy.media.workshop import Workshop


class Meter:
    """Counts the cost of the jobs that are inside at once; `gate` lets them out."""

    def __init__(self) -> None:
        self.lock, self.gate, self.inside = threading.Lock(), threading.Event(), threading.Event()
        self.now = self.most = 0
        self.order: list[int] = []

    def job(self, number: int, cost: int) -> int:
        with self.lock:
            self.now += cost
            self.most = max(self.most, self.now)
            self.order.append(number)
            self.inside.set()
        self.gate.wait(5)
        with self.lock:
            self.now -= cost
        return number


@pytest.mark.asyncio
async def test_running_jobs_never_cost_more_than_the_budget_and_start_in_order():
    shop, meter = Workshop("test", threads=4, budget=10), Meter()
    meter.gate.set()
    costs = [4, 6, 7, 3, 10, 99, 1, 2, 5] * 5
    done = await asyncio.gather(*(shop.run(cost, meter.job, i, min(cost, 10)) for i, cost in enumerate(costs)))
    assert done == sorted(meter.order) == list(range(len(costs)))
    assert 4 <= meter.most <= 10


@pytest.mark.asyncio
async def test_a_job_whose_caller_left_never_starts():
    shop, meter = Workshop("test", threads=2, budget=10), Meter()
    first = asyncio.ensure_future(shop.run(10, meter.job, 1, 10))
    await asyncio.to_thread(meter.inside.wait, 5)
    second = asyncio.ensure_future(shop.run(10, meter.job, 2, 10))  # holds a thread, waits for bytes
    third = asyncio.ensure_future(shop.run(10, meter.job, 3, 10))  # waits for a thread
    await asyncio.sleep(0)
    second.cancel()
    third.cancel()
    await asyncio.wait([second, third])
    meter.gate.set()
    assert await first == 1
    assert await shop.run(10, meter.job, 4, 10) == 4
    assert meter.order == [1, 4]


@pytest.mark.asyncio
async def test_a_full_queue_is_said_and_opens_again():
    shop, meter = Workshop("test", threads=1, budget=10, queue=2), Meter()
    waiting = [asyncio.ensure_future(shop.run(1, meter.job, i, 1)) for i in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="queue is full"):
        await shop.run(1, meter.job, 3, 1)
    meter.gate.set()
    assert await asyncio.gather(*waiting) == [0, 1]
    assert await shop.run(1, meter.job, 4, 1) == 4


class Big:
    """Something whose end can be seen."""


def fail(given: Big, kept: list["weakref.ref[Big]"]) -> None:
    made = Big()
    kept += [weakref.ref(given), weakref.ref(made)]
    try:
        raise KeyError("inner")
    except KeyError:
        raise ValueError("outer") from None


@pytest.mark.asyncio
async def test_a_failed_job_keeps_nothing_alive_not_even_until_the_next_collection():
    kept: list[weakref.ref[Big]] = []
    shop = Workshop("test", threads=1, budget=1)
    gc.disable()
    try:
        error = None
        try:
            await shop.run(1, fail, Big(), kept)
        except ValueError as caught:
            error = caught
        assert kept[1]() is None, "what the job made is gone even while the error is on its way"
        del error
        await shop.run(1, int)  # the thread has let go of the job before
        assert kept[0]() is None
    finally:
        gc.enable()
