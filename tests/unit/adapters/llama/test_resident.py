"""A resident without a process: what it says of itself, and holds."""

import asyncio

import pytest

from adapters.llama.footprint import Wishes
from adapters.llama.resident import Hold, Resident


def test_before_anything_is_known() -> None:
    resident = Resident("/m.gguf", 60.0, Wishes())
    status = resident.status()
    assert (status.state, status.parallel, status.measured, status.expires, status.info) == (
        "loading",
        0,
        0,
        None,
        None,
    )
    assert status.created == status.used > 1e9
    assert Resident("/m.gguf", 60.0, Wishes(parallel=5)).parallel == 5
    resident.draining = True
    assert resident.state == "draining"
    resident.stopping = True
    assert resident.status().state == "stopping"


@pytest.mark.asyncio
async def test_when_it_goes() -> None:
    resident = Resident("/m.gguf", 60.0, Wishes())
    resident.timer = asyncio.get_running_loop().call_later(60, lambda: None)
    status = resident.status()
    assert status.expires is not None
    assert 59 < status.expires - status.created < 61
    resident.timer.cancel()


def test_listeners_may_leave_while_they_are_told() -> None:
    resident = Resident("/m.gguf", 60.0, Wishes())
    seen: list[float] = []

    def once(share: float) -> None:
        resident.listeners.discard(once)
        seen.append(share)

    resident.listeners |= {once, seen.append}
    resident.report(0.5)
    resident.report(1.0)
    assert sorted(seen) == [0.5, 0.5, 1.0]


def test_a_hold_gives_back_once() -> None:
    given: list[int] = []
    hold = Hold(None, lambda: given.append(1))  # type: ignore[arg-type]
    hold.release()
    hold.release()
    assert given == [1]
