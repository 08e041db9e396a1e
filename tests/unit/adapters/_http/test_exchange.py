"""One response, fed by hand: parsing, the buffer, the clocks, and how it ends."""

import asyncio
import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters._http.errors import TransportError
from adapters._http.exchange import DRAIN_BYTES, DRAIN_S, HIGH_WATER, MAX_HEAD, Exchange
from adapters._http.timeouts import Timeouts
from fakes.wires import ALL_CHUNKED, BODY
from proxy.lane import Lane

pytestmark = pytest.mark.asyncio

OK = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n"


class Wire:
    """What an exchange asked of its connection."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def abort(self) -> None:
        self.asked.append("abort")

    def pause(self) -> None:
        self.asked.append("pause")

    def resume(self) -> None:
        self.asked.append("resume")

    def watch(self) -> None:
        self.asked.append("watch")


def begun(
    timeouts: Timeouts | None = None, deadline: float = math.inf, head_only: bool = False
) -> tuple[Exchange, Wire]:
    """An exchange whose request has been written."""
    wire = Wire()
    exchange = Exchange(asyncio.get_running_loop(), wire, timeouts or Timeouts(), deadline, head_only=head_only)
    exchange.sent = True
    exchange.writing(False)
    return exchange, wire


async def test_head_then_body_then_end() -> None:
    """Everything of a response is there to be read."""
    exchange, wire = begun()
    exchange.feed(b"HTTP/1.1 201 Very Created\r\nX-A: 1\r\nx-a: 2\r\ncontent-length: 3\r\n\r\nabc")
    await exchange.head()
    assert exchange.status == 201
    assert exchange.headers == [(b"X-A", b"1"), (b"x-a", b"2"), (b"content-length", b"3")]
    assert exchange.complete
    assert exchange.keep_alive
    assert [await exchange.chunk(), await exchange.chunk(), await exchange.chunk()] == [b"abc", b"", b""]
    assert wire.asked == []


@given(cuts=st.lists(st.integers(0, len(ALL_CHUNKED)), max_size=30))
@settings(deadline=None, max_examples=150)
async def test_cutting_anywhere_changes_nothing(cuts: list[int]) -> None:
    """The body is the same however the packets fall."""
    exchange, _ = begun()
    at = [0, *sorted(cuts), len(ALL_CHUNKED)]
    out = b""
    for a, b in itertools.pairwise(at):
        if a < b:
            exchange.feed(ALL_CHUNKED[a:b])
        if exchange._body:
            out += await exchange.chunk()
    assert exchange.complete
    assert await exchange.chunk() == b""
    assert out == BODY


async def test_a_reader_is_woken_once_for_one_read() -> None:
    """And gets everything that came."""
    exchange, _ = begun()
    exchange.feed(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    await exchange.head()
    reader = asyncio.create_task(exchange.chunk())
    await asyncio.sleep(0)
    exchange.feed(b"".join(b"1\r\n%d\r\n" % i for i in range(10)))
    assert await reader == b"0123456789"


async def test_a_chunk_header_alone_wakes_nobody() -> None:
    """Nothing to hand over yet."""
    exchange, _ = begun()
    exchange.feed(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    reader = asyncio.create_task(exchange.chunk())
    await asyncio.sleep(0)
    exchange.feed(b"5\r\n")
    await asyncio.sleep(0)
    assert not reader.done()
    exchange.feed(b"ab")
    assert await reader == b"ab"


async def test_only_one_reader() -> None:
    """Two would steal from each other."""
    exchange, _ = begun()
    exchange.feed(OK % 5)
    first = asyncio.create_task(exchange.chunk())
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="one reader"):
        await exchange.chunk()
    exchange.feed(b"abcde")
    assert await first == b"abcde"


async def test_interim_responses_leave_no_trace() -> None:
    """Neither headers nor coding."""
    exchange, _ = begun()
    exchange.feed(
        b"HTTP/1.1 103 Early\r\ncontent-encoding: gzip\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
    )
    await exchange.head()
    assert (exchange.status, exchange.content_encoding) == (200, b"")
    assert exchange.headers == [(b"content-length", b"0")]
    assert exchange.complete


async def test_trailers_are_kept_apart() -> None:
    """They are no headers."""
    exchange, _ = begun()
    exchange.feed(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx-sum: 1\r\nx-b: 2\r\n\r\n")
    assert exchange.complete
    assert exchange.trailers == [(b"x-sum", b"1"), (b"x-b", b"2")]
    assert exchange.headers == [(b"transfer-encoding", b"chunked")]


@pytest.mark.parametrize(
    ("head", "kept"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nconnection: Close\r\ncontent-length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n", True),
        (b"HTTP/1.1 204 No\r\n\r\n", True),
    ],
)
async def test_keep_alive(head: bytes, kept: bool) -> None:
    """By version and Connection."""
    exchange, _ = begun()
    exchange.feed(head)
    assert exchange.complete
    assert exchange.keep_alive is kept


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(b"timeout=5", 5.0), (b"max=9, Timeout=15", 15.0), (b"timeout=", None), (b"timeout=x", None), (b"max=5", None)],
)
async def test_the_servers_own_idle_limit(value: bytes, seconds: float | None) -> None:
    """Read where it is a number."""
    exchange, _ = begun()
    exchange.feed(b"HTTP/1.1 200 OK\r\nkeep-alive: %b\r\ncontent-length: 0\r\n\r\n" % value)
    assert exchange.idle_hint_s == seconds


@pytest.mark.parametrize("wire", [b"GET", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"])
async def test_surplus_is_noticed(wire: bytes) -> None:
    """Whatever follows a complete response in the same read."""
    for head in (OK % 2, b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n"):
        exchange, _ = begun()
        exchange.feed(head + b"ok" + wire)
        assert exchange.complete
        assert exchange.surplus
        assert await exchange.chunk() == b"ok"
        assert exchange.status == 200


async def test_a_head_request_ends_with_its_head() -> None:
    """A body behind it would be surplus."""
    exchange, _ = begun(head_only=True)
    exchange.feed(OK % 5)
    assert exchange.complete
    assert not exchange.surplus
    exchange, _ = begun(head_only=True)
    exchange.feed(OK % 5 + b"abcde")
    assert exchange.surplus


@pytest.mark.parametrize(
    ("wire", "clean"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nabc", True),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabc", False),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked \r\n\r\n3\r\nabc\r\n", False),
    ],
)
async def test_the_connection_ends(wire: bytes, clean: bool) -> None:
    """Which is the end of a body with no other framing, and an error for every other."""
    exchange, _ = begun()
    exchange.feed(wire)
    exchange.eof(None)
    assert await exchange.chunk() == b"abc"
    if clean:
        assert await exchange.chunk() == b""
        assert not exchange.keep_alive
    else:
        with pytest.raises(TransportError, match="premature_eof"):
            await exchange.chunk()


@pytest.mark.parametrize("coding", [b"gzip", b"gzip, chunked", b"identity", b"chunked, chunked"])
async def test_a_transfer_coding_that_was_not_asked_for(coding: bytes) -> None:
    """Its bytes are not the body, so they are not handed over as one."""
    exchange, _ = begun()
    exchange.feed(b"HTTP/1.1 200 OK\r\ntransfer-encoding: %b\r\n\r\n" % coding)
    with pytest.raises(TransportError, match="protocol"):
        await exchange.head()


async def test_a_reset_never_is_an_end() -> None:
    """Not even of a body that is read until close."""
    exchange, _ = begun()
    exchange.feed(b"HTTP/1.1 200 OK\r\n\r\nabc")
    exchange.eof(ConnectionResetError(104, "reset"))
    assert await exchange.chunk() == b"abc"
    with pytest.raises(TransportError, match="reset"):
        await exchange.chunk()


async def test_an_error_is_raised_again_and_again() -> None:
    """As a fresh exception each time; nothing that comes later changes it."""
    exchange, wire = begun()
    exchange.feed(b"garbage\r\n")
    exchange.eof(None)
    exchange.fail(TransportError("closed", "x"))
    with pytest.raises(TransportError, match="protocol") as first:
        await exchange.head()
    with pytest.raises(TransportError, match="protocol") as second:
        await exchange.chunk()
    assert first.value is not second.value
    assert wire.asked == ["abort"]


@pytest.mark.parametrize(
    "wire",
    [
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * (MAX_HEAD + 1),
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 300,
        b"HTTP/1.1 102 P\r\nx: yyyyyyy\r\n\r\n" * (MAX_HEAD // 10),
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;" + b"e" * (10 * MAX_HEAD),
    ],
)
@pytest.mark.parametrize("step", [1000, 256 * 1024])  # the latter is what a loop reads at once
async def test_heads_have_a_limit(wire: bytes, step: int) -> None:
    """One long field, many short ones, interim heads without end, chunk extensions without end."""
    exchange, asked = begun()
    for i in range(0, len(wire), step):
        if exchange.error is None:
            exchange.feed(wire[i : i + step])
    assert isinstance(exchange.error, TransportError)
    assert exchange.error.kind == "too_large"
    assert asked.asked == ["abort"]


async def test_a_large_body_is_no_large_head() -> None:
    """In one read with its head, in chunks with small extensions, for long."""
    exchange, _ = begun()
    exchange.feed(OK % 200_000 + b"x" * 200_000)
    assert exchange.complete
    exchange, _ = begun()
    exchange.feed(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    for _ in range(3000):
        exchange.feed(b"1;extension=aaaaaaaaaaaaaaaaaaaaa\r\nx\r\n")
        await exchange.chunk()
    assert exchange.error is None


class Spied:
    """The parser, and what it was given."""

    def __init__(self, parser: Any) -> None:
        self.parser = parser
        self.fed: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.parser, name)

    def feed_data(self, data: bytes) -> None:
        self.fed.append(data)
        self.parser.feed_data(data)


async def flowing(sink: Callable[[bytes], bool]) -> tuple[Exchange, Spied, asyncio.Task[None]]:
    exchange, _ = begun()
    exchange._parser = spied = Spied(exchange._parser)
    exchange.feed(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    await exchange.head()
    task = asyncio.get_running_loop().create_task(exchange.flow(sink))
    await asyncio.sleep(0)
    spied.fed.clear()
    return exchange, spied, task


async def test_a_read_that_is_one_chunk_is_not_parsed_once_the_parser_took_one_for_it() -> None:
    said: list[bytes] = []
    exchange, spied, task = await flowing(lambda data: said.append(data) is None)
    one, two, last = b"5\r\nhello\r\n", b"a\r\n0123456789\r\n", b"0\r\n\r\n"
    for data in (one, two, b"1\r\n", b"x\r\n", one, two, two, last):
        exchange.feed(data)
    await task
    assert said == [b"hello", b"0123456789", b"x", b"hello", b"0123456789", b"0123456789"]
    assert spied.fed == [one, b"1\r\n", b"x\r\n", one, last]
    assert exchange.complete


@pytest.mark.parametrize(
    "odd", [b"05\r\nhello\r\n", b"5;a=b\r\nhello\r\n", b"A\r\n0123456789\r\n", b"5\r\nhello\r\n5\r\nhello\r\n"]
)
async def test_what_is_no_plain_chunk_is_parsed(odd: bytes) -> None:
    exchange, spied, task = await flowing(lambda _: True)
    for data in (b"1\r\nx\r\n", odd, b"0\r\n\r\n"):
        exchange.feed(data)
    await task
    assert odd in spied.fed


@pytest.mark.parametrize(
    "bad", [b"0x5\r\nhello\r\n", b" 5\r\nhello\r\n", b"+5\r\nhello\r\n", b"5_\r\nhello\r\n", b"6\r\nhello\r\n\r\n"]
)
async def test_what_is_no_chunk_is_refused(bad: bytes) -> None:
    exchange, _, task = await flowing(lambda _: True)
    exchange.feed(b"1\r\nx\r\n")
    exchange.feed(bad)
    with pytest.raises(TransportError, match="not HTTP"):
        await task


async def test_the_silence_between_bytes_begins_with_what_a_lane_took() -> None:
    exchange, _ = begun(Timeouts(between_bytes_s=20))
    exchange.feed(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    lane = Lane(lambda _: None, lambda: 0.0)
    task = asyncio.get_running_loop().create_task(exchange.flow(lambda _: True, lane))
    await asyncio.sleep(0)
    lane.at = asyncio.get_running_loop().time() + 1000
    assert exchange.due() == (lane.at + 20, "between_bytes_timeout")
    exchange.feed(b"0\r\n\r\n")
    await task


PIECES = st.lists(st.text(alphabet="05a\r\n", min_size=1, max_size=24).map(str.encode), min_size=1, max_size=8)


@given(pieces=PIECES, cuts=st.lists(st.integers(0, 400), max_size=6), refused=st.sets(st.integers(0, 20)))
@settings(deadline=None, max_examples=300)
async def test_flowing_brings_the_body_however_the_packets_fall(
    pieces: list[bytes], cuts: list[int], refused: set[int]
) -> None:
    """Reads that end with a chunk, and some that do not; texts that look like chunks; a sink that refuses now and then."""
    wire = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]
    raw = b"".join(wire) + b"0\r\n\r\n"
    at = {0, len(raw), *itertools.accumulate(len(part) for part in wire), *(cut % len(raw) for cut in cuts)}
    said: list[bytes] = []
    exchange, _, task = await flowing(lambda data: said.append(data) is None and len(said) not in refused)
    for a, b in itertools.pairwise(sorted(at)):
        exchange.feed(raw[a:b])
        await asyncio.sleep(0)
        if task.done() and not exchange.complete:
            task = asyncio.get_running_loop().create_task(
                exchange.flow(lambda data: said.append(data) is None and len(said) not in refused)
            )
            await asyncio.sleep(0)
    await task
    while rest := await exchange.chunk():
        said.append(rest)
    assert (exchange.complete, b"".join(said)) == (True, b"".join(pieces))


async def test_back_pressure() -> None:
    """Reading stops above the high-water mark and goes on when the buffer is taken."""
    exchange, wire = begun()
    exchange.feed(OK % (10 * HIGH_WATER))
    exchange.feed(b"x" * HIGH_WATER)
    assert wire.asked == []
    exchange.feed(b"x")
    assert wire.asked == ["pause"]
    exchange.feed(b"x")  # what was on its way
    assert wire.asked == ["pause"]
    assert len(await exchange.chunk()) == HIGH_WATER + 2
    assert wire.asked == ["pause", "resume"]


async def test_the_clocks() -> None:
    """Each phase has its own, the whole has one, and none runs while we are the ones who wait."""
    loop = asyncio.get_running_loop()
    now = loop.time()
    exchange, _ = begun(Timeouts(first_byte_s=10, between_bytes_s=20), deadline=now + 100)
    assert exchange.step_s == 10
    when, kind = exchange.due()
    assert kind == "first_byte_timeout"
    assert when == pytest.approx(now + 10, abs=0.5)
    exchange.stall()
    assert exchange.due() == (now + 100, "total_timeout")
    exchange.writing(True)
    assert exchange.busy_writing
    assert exchange.due()[1] == "first_byte_timeout"
    assert "written" in exchange.late("first_byte_timeout").message
    exchange.feed(OK % (10 * HIGH_WATER))
    assert not exchange.busy_writing
    exchange.stall()  # a late end of our own writing does not touch the body's clock
    when, kind = exchange.due()
    assert kind == "between_bytes_timeout"
    assert when == pytest.approx(now + 20, abs=0.5)
    exchange.feed(b"x" * (HIGH_WATER + 1))
    assert exchange.due() == (now + 100, "total_timeout")  # paused by us
    await exchange.chunk()
    assert exchange.due()[1] == "between_bytes_timeout"


async def test_no_clocks() -> None:
    """0 is never."""
    exchange, _ = begun(Timeouts(first_byte_s=0, between_bytes_s=0))
    assert exchange.due()[0] == math.inf
    assert exchange.step_s == math.inf


async def test_closing() -> None:
    """At once, once, and not at all when it is complete."""
    exchange, wire = begun()
    exchange.feed(OK % 5 + b"ab")
    exchange.close()
    exchange.close()
    assert wire.asked == ["abort"]
    with pytest.raises(TransportError, match="closed"):
        await exchange.chunk()
    exchange, wire = begun()
    exchange.feed(OK % 2 + b"ab")
    exchange.close()
    assert wire.asked == []


async def test_releasing() -> None:
    """What comes is dropped, within a limit of bytes and of time."""
    exchange, wire = begun()
    exchange.feed(OK % 10 + b"ab")
    exchange.release()
    exchange.release()
    assert wire.asked == ["watch"]
    assert exchange.due()[0] <= asyncio.get_running_loop().time() + DRAIN_S
    with pytest.raises(TransportError, match="closed"):
        await exchange.chunk()
    exchange.feed(b"cdefghij")
    assert exchange.complete
    assert exchange.keep_alive
    assert wire.asked == ["watch"]


async def test_releasing_too_much() -> None:
    """It is closed after all; also when it had been paused, or has no head yet."""
    exchange, wire = begun()
    exchange.feed(OK % (10 * HIGH_WATER) + b"x" * (HIGH_WATER + 1))
    exchange.release()
    assert wire.asked == ["pause", "resume", "watch"]
    exchange.feed(b"x" * (DRAIN_BYTES + 1))
    assert wire.asked[-1] == "abort"
    exchange, wire = begun()
    exchange.release()
    assert wire.asked == ["abort"]


async def test_a_cancelled_wait_loses_nothing() -> None:
    """The next reader gets what came meanwhile."""
    exchange, _ = begun()
    exchange.feed(OK % 2)
    reader = asyncio.create_task(exchange.chunk())
    await asyncio.sleep(0)
    exchange.feed(b"ok")
    reader.cancel()  # in the turn in which it was woken
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert await exchange.chunk() == b"ok"
