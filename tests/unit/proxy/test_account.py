"""The books in memory, and the gate that feeds them (Metered itself: test_pipeline)."""

import pytest

from proxy.account import Books
from proxy.admit import OpenGate
from proxy.call import ANYBODY, Attempt, Call, Dialect, Ending, Operation, Target, Usage


def call(*, tried: bool = True) -> Call:
    made = Call(
        id="c", operation=Operation.CHAT, dialect=Dialect.OPENAI, request=None, raw=b"", fields={}, principal=ANYBODY
    )
    if tried:
        made.attempts.append(Attempt(Target("up", "m")))
    return made


@pytest.mark.asyncio
async def test_entries_and_totals() -> None:
    books = Books(keep=2)
    gate = OpenGate(books.write)
    for ending in (Ending.FAILED, Ending.CANCELLED, Ending.FINISHED):
        permit = await gate.admit(call())
        await permit.settle(Usage(1, 2), ending, 3)
    assert [entry.ending for entry in books.entries] == [Ending.CANCELLED, Ending.FINISHED]
    assert books.endings == {
        Ending.FINISHED: 1, Ending.CANCELLED: 1, Ending.FAILED: 1, Ending.INTERRUPTED: 0}  # fmt: skip
    last = books.entries[-1]
    assert (last.id, last.operation, last.route, last.frames, last.attempts) == ("c", "chat", "up/m", 3, 1)
    assert gate.running == 0
