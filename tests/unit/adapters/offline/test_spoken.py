"""The end is known with the last piece; leaving ends the iterator; events hold the same bytes."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters.offline.spoken import Spoken
from proxy.call import Ending, Usage


class Pieces:
    def __init__(self, *pieces: bytes) -> None:
        self.pieces = pieces
        self.closed = False

    async def all(self) -> AsyncIterator[bytes]:
        try:
            for piece in self.pieces:
                yield piece
        finally:
            self.closed = True


@pytest.mark.asyncio
async def test_the_end_comes_with_the_last_piece() -> None:
    source = Spoken(Pieces(b"a", b"b").all(), Usage(characters=2), set())
    assert (await source.read(), source.ending) == (b"a", None)
    assert (await source.read(), source.ending) == (b"b", Ending.FINISHED)
    assert await source.read() == b""


@pytest.mark.asyncio
async def test_leaving_ends_the_iterator() -> None:
    pieces, closing = Pieces(b"a", b"b", b"c"), set[asyncio.Task[Any]]()
    source = Spoken(pieces.all(), Usage(), closing)
    await source.read()
    source.close()
    await asyncio.wait(closing)
    assert pieces.closed
    assert source.ending is None


@pytest.mark.asyncio
async def test_events() -> None:
    source = Spoken(Pieces(b"a", b"b").all(), Usage(), set(), {"total_tokens": 3})
    said = (await source.read() + await source.read()).decode()
    events = [json.loads(line[6:]) for line in said.split("\n\n") if line]
    assert [base64.b64decode(event["audio"]) for event in events[:-1]] == [b"a", b"b"]
    assert events[-1] == {"type": "speech.audio.done", "usage": {"total_tokens": 3}}
