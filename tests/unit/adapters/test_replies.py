"""The two shapes of Reply: what they give, when they say they are over, and that closing reaches the source."""

import pytest

from adapters.replies import Stream, Whole
from proxy.call import Ending, Usage
from proxy.stream import CONTENT_TYPE


class Frames:
    """A Source of given frames; over with the last of them."""

    def __init__(self, *frames: bytes) -> None:
        self.frames = list(frames)
        self.ending: Ending | None = None if frames else Ending.FINISHED
        self.usage: Usage | None = None
        self.closed = 0

    async def read(self) -> bytes:
        frame = self.frames.pop(0)
        if not self.frames:
            self.ending, self.usage = Ending.FINISHED, Usage(1, 2)
        return frame

    def close(self) -> None:
        self.closed += 1


@pytest.mark.asyncio
async def test_whole() -> None:
    reply = Whole(b"{}", Usage(3, 4), headers=[("x-a", "b")])
    assert (reply.status, reply.content_type, reply.headers) == (200, "application/json", [("x-a", "b")])
    assert reply.ending is None
    assert [await reply.next(), await reply.next()] == [b"{}", b""]
    assert reply.ending is Ending.FINISHED
    assert reply.usage == Usage(3, 4)


@pytest.mark.asyncio
async def test_a_closed_whole_holds_nothing() -> None:
    reply = Whole(b"x" * 100, None, "audio/wav")
    reply.close()
    assert await reply.next() == b""


@pytest.mark.asyncio
async def test_stream() -> None:
    source = Frames(b"2", b"3")
    reply = Stream(source, b"1")
    assert (reply.status, reply.content_type, reply.usage) == (200, CONTENT_TYPE, None)
    assert await reply.next() == b"1"
    assert await reply.next() == b"2"
    assert reply.ending is None
    assert await reply.next() == b"3"
    assert (reply.ending, reply.usage) == (Ending.FINISHED, Usage(1, 2))
    assert await reply.next() == b""
    reply.close()
    assert source.closed == 1


@pytest.mark.asyncio
async def test_a_stream_is_not_over_before_its_first_frame_was_given() -> None:
    """The source was read to its end while it was opened."""
    reply = Stream(Frames(), b"all of it")
    assert reply.ending is None
    assert await reply.next() == b"all of it"
    assert reply.ending is Ending.FINISHED
    assert await reply.next() == b""
