"""The record of what was asked."""

import asyncio

import pytest

from proxy.mock.journal import Exchange, Journal


def exchange(body: bytes = b"") -> Exchange:
    return Exchange(1, 1, "POST", "/v1/x?a=1", [("content-type", "text/plain"), ("x-a", "1"), ("x-a", "2")], body)


def test_only_the_first_end_counts() -> None:
    seen = exchange()
    seen.finish("client_closed")
    at = seen.ended_at
    seen.finish("finished")
    assert (seen.end, seen.ended_at) == ("client_closed", at)


def test_a_request_is_taken_apart() -> None:
    seen = exchange(b'{"a":1}')
    assert (seen.path, seen.query, seen.header("X-A"), seen.header("nothing")) == ("/v1/x", "a=1", "1", None)
    assert seen.json() == {"a": 1}


@pytest.mark.parametrize(
    ("body", "key", "value"),
    [(b'{"a":1}', "json", {"a": 1}), ("già".encode(), "text", "già"), (b"\xff\x00", "base64", "/wA=")],
)
def test_the_body_is_shown_as_what_it_is(body: bytes, key: str, value: object) -> None:
    assert exchange(body).view()[key] == value


@pytest.mark.asyncio
async def test_marks_can_be_waited_for() -> None:
    seen = exchange()
    waiting = asyncio.create_task(seen.wait("ended"))
    await seen.wait("arrived")
    assert not waiting.done()
    seen.finish("finished")
    assert await waiting == seen.ended_at
    with pytest.raises(TimeoutError):
        await seen.wait("held", 0.01)


@pytest.mark.asyncio
async def test_a_hold_ends_when_released() -> None:
    seen = exchange()
    holding = asyncio.create_task(seen.held())
    await seen.wait("held")
    assert not holding.done()
    seen.release()
    await holding


@pytest.mark.asyncio
async def test_exchanges_and_connections_can_be_waited_for() -> None:
    journal = Journal()
    waiting = asyncio.create_task(journal.wait_for(2))
    assert journal.opened() == 1
    journal.note(1, "GET", "/a", [], b"")
    second = journal.note(1, "GET", "/b", [], b"")
    assert await waiting is second
    idle = asyncio.create_task(journal.wait_idle())
    await asyncio.sleep(0)
    assert not idle.done()
    journal.closed(incomplete=True)
    await idle
    assert (journal.open, journal.incomplete, journal.connections) == (0, 1, 1)
    journal.clear()
    assert journal.note(2, "GET", "/c", [], b"").number == 3
    with pytest.raises(TimeoutError):
        await journal.wait_for(2, 0.01)
