"""One connection: bytes in, bytes out, and how it ended."""

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from fakes.evil import evil
from proxy.mock import Exchange, Fault, MockServer, fault

BODY = b'{"model":"mock-chat","messages":[{"role":"user","content":"hi"}],"stream":true}'
LONG = b'{"model":"mock-chat","messages":[{"role":"user","content":"hi"}],"stream":false}'


def post(body: bytes = BODY, extra: str = "") -> bytes:
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{extra}"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


@asynccontextmanager
async def connected(mock: MockServer) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", mock.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def served(mock: MockServer, request: bytes = b"") -> tuple[bytes, Exchange]:
    """Everything that comes until the mock ends the connection."""
    async with connected(mock) as (reader, writer):
        writer.write(request or post(extra="connection: close\r\n"))
        received = b""
        try:
            while data := await asyncio.wait_for(reader.read(65536), 5):
                received += data
        except ConnectionResetError:
            received += b"<reset>"
        return received, mock.exchanges[-1]


@pytest.mark.asyncio
async def test_requests_of_one_connection_are_answered_in_order() -> None:
    async with evil() as mock, connected(mock) as (reader, writer):
        writer.write(post(LONG) + b"GET /v1/models/mock-chat HTTP/1.1\r\nhost: x\r\n\r\n")
        received = b""
        while received.count(b"HTTP/1.1 200") < 2 or not received.endswith(b"}"):
            received += await asyncio.wait_for(reader.read(65536), 5)
        assert received.index(b"chat.completion") < received.index(b'"object":"model"')
        assert [exchange.connection for exchange in mock.exchanges] == [1, 1]
        assert [exchange.end for exchange in mock.exchanges] == ["finished", "finished"]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("made", "end", "final"),
    [
        (None, "finished", b"0\r\n\r\n"),
        (fault("cut", at=30), "faulted", b"\r\n"),
        (fault("reset", after=2), "faulted", b"<reset>"),
        (fault("reset_head"), "faulted", b"<reset>"),
        (fault("close_head"), "faulted", b""),
        (fault("until_close"), "finished", b"data: [DONE]\n\n"),
        (fault("connection_close"), "finished", b"0\r\n\r\n"),
        (fault("dribble"), "finished", b"0\r\n\r\n"),
    ],
)
async def test_how_it_ends_is_seen_by_both_sides(made: Fault | None, end: str, final: bytes) -> None:
    async with evil() as mock:
        if made:
            mock.script(made)
        received, exchange = await served(mock)
        assert received.endswith(final)
        assert exchange.end == end
        if made is None or made.name != "reset":  # what an RST overtakes, nobody gets to read
            assert exchange.bytes_sent == len(received.replace(b"<reset>", b""))


@pytest.mark.asyncio
@pytest.mark.parametrize("phase", ["stall_head", "stall_first", "stall"])
@pytest.mark.parametrize(("how", "end"), [("close", "client_closed"), ("reset", "reset")])
async def test_a_client_that_leaves_is_noticed_at_once(phase: str, how: str, end: str) -> None:
    async with evil() as mock, connected(mock) as (reader, writer):
        mock.script(fault(phase))
        writer.write(post())
        exchange = await mock.journal.wait_for(1)
        await exchange.wait("held")
        await reader.readexactly(exchange.bytes_sent)  # a close with unread bytes would be a reset
        if how == "reset":
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        left = time.monotonic()
        writer.transport.abort()
        assert await exchange.wait("ended") - left < 0.1
        assert exchange.end == end


@pytest.mark.asyncio
async def test_a_client_that_leaves_while_the_mock_cannot_write_is_noticed_too() -> None:
    async with evil() as mock, connected(mock) as (_, writer):
        mock.script(fault("garbage", size=50_000_000))
        writer.transport.pause_reading()
        writer.write(post())
        exchange = await mock.journal.wait_for(1)
        await exchange.wait("answering")
        left = time.monotonic()
        writer.transport.abort()
        assert await exchange.wait("ended") - left < 0.1
        assert exchange.end in ("client_closed", "reset")
        assert exchange.bytes_sent < 50_000_000


@pytest.mark.asyncio
async def test_leaving_after_the_end_is_no_leaving() -> None:
    async with evil() as mock:
        async with connected(mock) as (reader, writer):
            writer.write(post())
            await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 5)
        await mock.journal.wait_idle()
        assert mock.exchanges[0].end == "finished"


@pytest.mark.asyncio
async def test_a_stall_goes_on_when_released() -> None:
    async with evil() as mock, connected(mock) as (reader, writer):
        mock.script(fault("stall", after=1))
        writer.write(post())
        exchange = await mock.journal.wait_for(1)
        await exchange.wait("held")
        exchange.release()
        await asyncio.wait_for(reader.readuntil(b"[DONE]\n\n\r\n0\r\n\r\n"), 5)
        assert await exchange.wait("ended")


@pytest.mark.asyncio
async def test_a_request_that_is_cut_off_is_counted_and_not_recorded() -> None:
    async with evil() as mock:
        async with connected(mock) as (reader, writer):
            writer.write(post(LONG) + post()[:-5])
            await asyncio.wait_for(reader.readuntil(b"fp_mock"), 5)  # the first is answered: the second was begun
        await mock.journal.wait_idle()
        assert (len(mock.exchanges), mock.journal.incomplete) == (1, 1)


@pytest.mark.asyncio
async def test_what_is_no_http_is_a_400_and_the_end() -> None:
    async with evil() as mock, connected(mock) as (reader, writer):
        writer.write(b"BANG!\r\n\r\n")
        assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.1 400 ")


@pytest.mark.asyncio
async def test_a_body_is_asked_for_where_the_client_waits() -> None:
    async with evil() as mock, connected(mock) as (reader, writer):
        head, _, body = post(LONG, "expect: 100-continue\r\n").partition(b"\r\n\r\n")
        writer.write(head + b"\r\n\r\n")
        assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5) == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).startswith(b"HTTP/1.1 200 ")


@pytest.mark.asyncio
async def test_a_chunked_request_is_read() -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nconnection: close\r\n"
    request = head + b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(LONG), LONG)
    async with evil() as mock:
        received, exchange = await served(mock, request)
        assert b"chat.completion" in received
        assert exchange.body == LONG


@pytest.mark.asyncio
async def test_the_side_channel_is_neither_recorded_nor_faulted() -> None:
    async with evil(faults=(fault("reset_head"),)) as mock, connected(mock) as (reader, writer):
        writer.write(b"GET /__mock/requests HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await asyncio.wait_for(reader.readuntil(b"]}"), 5)).startswith(b"HTTP/1.1 200 ")
        assert mock.exchanges == []


@pytest.mark.asyncio
async def test_a_mistake_of_the_mock_itself_is_loud() -> None:
    heard: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context["exception"]))
    async with evil() as mock:

        def broken(*_: object) -> None:
            raise LookupError("our own mistake")

        mock.backend.answer = broken  # type: ignore[method-assign,assignment]
        received, _ = await served(mock)
        assert received == b""
    assert [str(error) for error in heard] == ["our own mistake"]
