"""Sound passes as it comes; events pass at their boundaries, and end with their last one or badly."""

from typing import Any

import pytest

from adapters.openai_api.passing import Bytes
from proxy.call import Ending, Usage
from proxy.errors import Fault, UpstreamError


class Response:
    """What an open response gives, piece by piece; `complete` once nothing is left."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)
        self.headers: dict[str, str] = {}
        self.closed = False

    @property
    def complete(self) -> bool:
        return not self.pieces

    async def chunk(self) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""

    def close(self) -> None:
        self.closed = True


async def all_of(source: Bytes) -> list[bytes]:
    out = []
    while source.ending is None:
        out.append(await source.read())
    return out


def over(*pieces: bytes, events: bytes = b"") -> Bytes:
    return Bytes(Response(*pieces), Usage(), "up", events=events)  # type: ignore[arg-type]


@pytest.mark.asyncio
async def test_sound_ends_with_its_last_piece() -> None:
    source = over(b"a", b"b")
    assert await source.read() == b"a"
    assert source.ending is None
    assert await source.read() == b"b"
    assert source.ending is Ending.FINISHED
    assert await source.read() == b""


@pytest.mark.asyncio
async def test_events_at_their_boundaries() -> None:
    source = over(b'data: {"a', b'": 1}\n\ndata: {"type": "all', b'.done"}\r\n\r\n', events=b"all.done")
    assert await all_of(source) == [b'data: {"a": 1}\n\n', b'data: {"type": "all.done"}\n\n', b""]
    assert source.ending is Ending.FINISHED


@pytest.mark.asyncio
async def test_usage_is_there_with_the_last_event() -> None:
    def counted(told: dict[str, Any]) -> Usage:
        return Usage(prompt_tokens=told["n"])

    pieces = (b'data: {"n": 1}\n\n', b'data: no json, all.done\n\ndata: {"type": "all.done", "n": 7}\n\n')
    source = Bytes(Response(*pieces), Usage(), "up", events=b"all.done", counted=counted)  # type: ignore[arg-type]
    await source.read()
    assert source.usage == Usage()
    await source.read()
    assert source.usage == Usage(prompt_tokens=7)


@pytest.mark.asyncio
async def test_events_without_their_last_one_did_not_end_well() -> None:
    source = over(b"data: 1\n\n", events=b"all.done")
    assert await source.read() == b"data: 1\n\n"
    with pytest.raises(UpstreamError) as caught:
        await source.read()
    assert caught.value.fault is Fault.CUT


@pytest.mark.asyncio
async def test_an_error_is_an_end_that_is_passed_on() -> None:
    assert (await all_of(over(b'data: {"error": {}}\n\n', events=b"all.done")))[0] == b'data: {"error": {}}\n\n'


@pytest.mark.asyncio
async def test_an_event_that_does_not_end() -> None:
    source = over(b"data: " + bytes(9 << 20), events=b"all.done")
    with pytest.raises(UpstreamError) as caught:
        await source.read()
    assert caught.value.fault is Fault.MALFORMED


def test_closing_frees_the_response() -> None:
    source = over(b"a")
    source.close()
    assert source._response.closed  # type: ignore[attr-defined]
