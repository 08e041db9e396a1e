"""The open gate: everybody is admitted and counted; each permit has one effect, whatever comes first."""

import itertools
from typing import Any

import pytest

from proxy.admit import OpenGate
from proxy.call import ANYBODY, Attempt, Call, Dialect, Ending, Operation, Target
from proxy.errors import Unavailable


def call(*, tried: bool = True) -> Call:
    made = Call(
        id="c", operation=Operation.CHAT, dialect=Dialect.OPENAI, request=None, raw=b"", fields={}, principal=ANYBODY
    )
    if tried:
        made.attempts.append(Attempt(Target("up", "m")))
    return made


async def done(permit: Any, what: str) -> None:
    if what == "cancel":
        permit.cancel(Ending.CANCELLED)
    elif what == "settle":
        await permit.settle(None, Ending.FINISHED, 1)
    else:
        permit.abandon(None, Ending.FAILED, 1)


@pytest.mark.asyncio
@pytest.mark.parametrize("order", list(itertools.permutations(["cancel", "settle", "abandon"])))
async def test_only_the_first_has_an_effect(order: tuple[str, ...]) -> None:
    settled: list[Ending] = []
    gate = OpenGate(lambda call, usage, ending, frames: settled.append(ending))
    permit = await gate.admit(call())
    assert gate.running == 1
    for what in (*order, *order):
        await done(permit, what)
    first = {"cancel": Ending.CANCELLED, "settle": Ending.FINISHED, "abandon": Ending.FAILED}[order[0]]
    assert settled == [first]
    assert gate.running == 0


@pytest.mark.asyncio
async def test_a_call_that_reached_nobody_is_not_booked() -> None:
    settled: list[Ending] = []
    gate = OpenGate(lambda call, usage, ending, frames: settled.append(ending))
    permit = await gate.admit(call(tried=False))
    permit.cancel(Ending.FAILED)
    assert settled == []
    assert gate.running == 0


@pytest.mark.asyncio
async def test_nobody_is_admitted_while_it_drains() -> None:
    gate = OpenGate(lambda *_: None)
    gate.draining = True
    with pytest.raises(Unavailable) as caught:
        await gate.admit(call())
    assert caught.value.retry_after_s == 2
    assert gate.running == 0
