"""The side channel."""

from typing import Any

import msgspec
import pytest

from proxy.mock.control import control
from proxy.mock.journal import Journal
from proxy.mock.script import Queue


async def ask(what: str, body: bytes = b"", queue: Queue | None = None, journal: Journal | None = None) -> Any:
    method, _, path = what.partition(" ")
    status, answer = await control(
        method, f"/__mock/{path}", body, Queue(0) if queue is None else queue, journal or Journal()
    )
    return status, msgspec.json.decode(answer)


@pytest.mark.asyncio
async def test_scripts_are_queued_one_or_many_and_cleared() -> None:
    queue = Queue(0)
    assert await ask("POST script", b'{"faults":[{"name":"cut"}]}', queue) == (200, {"queued": 1})
    assert await ask("POST script", b'[{"times":2},{"content":"x"}]', queue) == (200, {"queued": 3})
    assert queue.take(1, "/", None).faults[0].name == "cut"
    assert await ask("DELETE script", b"", queue) == (200, {"queued": 0})


@pytest.mark.asyncio
@pytest.mark.parametrize("body", [b"", b"{", b'{"faults":[{"name":"bang"}]}', b'{"fault":"cut"}', b"7"])
async def test_a_bad_script_is_refused_and_queues_nothing(body: bytes) -> None:
    queue = Queue(0)
    status, answer = await ask("POST script", body, queue)
    assert (status, len(queue)) == ((200, 0) if body == b"" else (400, 0))
    assert body == b"" or answer["error"]


@pytest.mark.asyncio
async def test_requests_can_be_read_waited_for_released_and_forgotten() -> None:
    journal = Journal()
    exchange = journal.note(1, "POST", "/v1/x", [], b'{"a":1}')
    _, answer = await ask("GET requests", journal=journal)
    assert answer["requests"][0]["json"] == {"a": 1}
    assert (await ask("GET wait?number=1&mark=ended&seconds=0.01", journal=journal))[0] == 408
    exchange.finish("reset")
    status, answer = await ask("GET wait?number=1&mark=ended", journal=journal)
    assert (status, answer["end"]) == (200, "reset")
    assert await ask("POST release?number=1", journal=journal) == (200, {})
    await exchange.held()  # released before it is held: it does not hold
    assert await ask("DELETE requests", journal=journal) == (200, {"requests": []})
    assert journal.exchanges == []


@pytest.mark.asyncio
@pytest.mark.parametrize("what", ["GET wait?mark=soon", "GET wait?number=x"])
async def test_a_mark_or_number_that_is_none_is_refused(what: str) -> None:
    journal = Journal()
    journal.note(1, "GET", "/", [], b"")
    assert (await ask(what, journal=journal))[0] == 400


@pytest.mark.asyncio
async def test_the_table_can_be_read_and_the_rest_is_not_there() -> None:
    _, answer = await ask("GET faults")
    assert answer["cut"]["params"] == {"at": 200, "end": "fin"}
    assert (await ask("GET nothing"))[0] == 404
