"""An answer over any ASGI server, and a client that leaves it."""

import asyncio
from typing import Any

import pytest

from routes._outlet import AsgiOutlet


class Channel:
    """ASGI's two ends; `left` is when the client goes."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.left = asyncio.Event()

    async def receive(self) -> Any:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(message)


@pytest.mark.asyncio
async def test_a_whole_answer_and_one_in_pieces() -> None:
    channel = Channel()
    outlet = AsgiOutlet(channel.receive, channel.send)
    await outlet.whole(201, [(b"x-a", b"b")], b"four")
    assert outlet.status == 201
    assert channel.sent[0]["headers"] == [(b"x-a", b"b"), (b"content-length", b"4")]
    assert channel.sent[1] == {"type": "http.response.body", "body": b"four", "more_body": False}
    channel.sent.clear()
    await outlet.whole(200, [(b"x-a", b"b")], b"", b"x-one: 1: 2\r\nx-two: \r\n")
    assert channel.sent[0]["headers"][2:] == [(b"x-one", b"1: 2"), (b"x-two", b"")]
    channel.sent.clear()
    await outlet.begin(200, [])
    assert not outlet.offer(b"now"), "ASGI cannot take it without waiting"
    await outlet.put(b"one")
    await outlet.end(b"two")
    assert [(m.get("body"), m.get("more_body")) for m in channel.sent[1:]] == [(b"one", True), (b"two", False)]


@pytest.mark.asyncio
async def test_the_watched_task_is_cancelled_when_the_client_leaves() -> None:
    channel = Channel()
    outlet = AsgiOutlet(channel.receive, channel.send)

    async def work() -> None:
        outlet.watch()
        channel.left.set()
        await asyncio.Event().wait()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(asyncio.create_task(work()), 5)
    assert outlet.gone


@pytest.mark.asyncio
async def test_who_asks_to_be_told_is_told_instead() -> None:
    channel, told = Channel(), asyncio.Event()
    outlet = AsgiOutlet(channel.receive, channel.send)
    outlet.on_gone = told.set
    outlet.watch()
    channel.left.set()
    await asyncio.wait_for(told.wait(), 5)
    assert not outlet.gone
    outlet.unwatch()


@pytest.mark.asyncio
async def test_nobody_is_cancelled_after_the_watch() -> None:
    channel = Channel()
    outlet = AsgiOutlet(channel.receive, channel.send)
    outlet.watch()
    outlet.unwatch()
    channel.left.set()
    await asyncio.sleep(0.03)  # longer than it takes the watch to begin
    assert not outlet.gone
