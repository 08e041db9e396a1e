"""One fault suite for the transports: whatever an upstream's socket does, an answer is complete or it is an error.

Each scenario runs over real sockets against byte-exact scripts, over our own transport on uvloop and on asyncio, over
httpx-aiohttp's and over httpx's own. Where a library knows less than ours, the kinds that it may say instead are listed.
"""

import asyncio
import contextlib
import functools
import gzip
import random
import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import brotli
import pytest
import trustme
import uvloop
from fakes.rawserver import CHUNKED, ClientGone, Peer, RawServer, answer, chunk

from adapters._http import HttpClient, HttpResponse, Timeouts, TransportError, retry

FAST = Timeouts(connect_s=2.0, first_byte_s=2.0, between_bytes_s=2.0, total_s=5.0, pool_s=2.0)
AT_ONCE_S = 0.1  # a socket that is given up is closed within this, as the server sees it


class Line(NamedTuple):
    """A transport under test, on an event loop."""

    transport: str
    loop: Callable[[], asyncio.AbstractEventLoop]

    def client(self, server: RawServer, **more: Any) -> HttpClient:
        """A client of `server` over this transport."""
        return HttpClient(server.url, transport=self.transport, **{"timeouts": FAST, **more})  # type: ignore[arg-type]

    @property
    def native(self) -> bool:
        return self.transport == "native"


LINES = {
    "native-uvloop": Line("native", uvloop.new_event_loop),
    "native-asyncio": Line("native", asyncio.new_event_loop),
    "aiohttp": Line("aiohttp", uvloop.new_event_loop),
    "httpx": Line("httpx", uvloop.new_event_loop),
}
ALL = tuple(LINES)
NATIVE = ("native-uvloop", "native-asyncio")
NOT_HTTPX = (*NATIVE, "aiohttp")

Test = Callable[..., Awaitable[None]]


def over(*names: str) -> Callable[[Test], Callable[..., None]]:
    """Run an async test over the named lines, in a loop of its own, and look for tasks that it left behind."""

    def wrap(test: Test) -> Callable[..., None]:
        @pytest.mark.parametrize("line", [LINES[n] for n in names], ids=names)
        @functools.wraps(test)
        def run(line: Line, **fixtures: Any) -> None:
            async def guarded() -> None:
                async with asyncio.timeout(20):
                    await test(line, **fixtures)
                    await asyncio.sleep(0)
                left = asyncio.all_tasks() - {asyncio.current_task()}
                assert not left, f"tasks left behind: {left}"

            with asyncio.Runner(loop_factory=line.loop) as runner:
                runner.run(guarded())

        return run

    return wrap


@contextlib.asynccontextmanager
async def talk(
    line: Line, script: Callable[[Peer], Awaitable[None]], **more: Any
) -> AsyncIterator[tuple[RawServer, HttpClient]]:
    """A server with a script and a client of it; both are closed, and no connection may outlive the client."""
    server_options = {k: more.pop(k) for k in ("tls",) if k in more}
    if "uds" in more:
        server_options["uds"] = more["uds"]
    async with RawServer(script, **server_options) as server:
        client = line.client(server, **more)
        try:
            yield server, client
        finally:
            await client.aclose()
        async with asyncio.timeout(1):
            await server.until(lambda: not server.open)


async def whole(response: HttpResponse) -> bytes:
    """Every chunk of a body."""
    out = b""
    while data := await response.chunk():
        out += data
    return out


async def post(client: HttpClient, content: bytes = b"{}", **more: Any) -> bytes:
    """One complete exchange."""
    async with await client.send("POST", "/x", content=content, **more) as response:
        return await whole(response)


def replies(*answers: bytes, then_close: bool = False) -> Callable[[Peer], Awaitable[None]]:
    """A script: one of the answers for each request, the last for ever."""

    async def script(peer: Peer) -> None:
        queue = list(answers)
        while True:
            await peer.request()
            await peer.send(queue.pop(0) if len(queue) > 1 else queue[0])
            if then_close:
                return

    return script


# --- success ---------------------------------------------------------------------------------------------------------

BODY = b'data: {"a": 1}\n\ndata: [DONE]\n\n' * 3
ALL_CHUNKED = CHUNKED + b"".join(chunk(BODY[i : i + 7]) for i in range(0, len(BODY), 7)) + chunk(b"")
GOOD: dict[str, tuple[bytes, bytes, bool]] = {  # name: bytes, body, server closes behind it
    "length": (answer(BODY), BODY, False),
    "empty": (answer(b""), b"", False),
    "chunked": (ALL_CHUNKED, BODY, False),
    "chunk extensions": (CHUNKED + b"3;a=b;c\r\nabc\r\n0\r\n\r\n", b"abc", False),
    "upper case chunk size": (CHUNKED + b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789", False),
    "trailers": (CHUNKED + chunk(b"abc") + b"0\r\nx-sum: 1\r\nx-more: 2\r\n\r\n", b"abc", False),
    "until close": (b"HTTP/1.1 200 OK\r\n\r\n" + BODY, BODY, True),
    "until close, empty": (b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n", b"", True),
    "connection: close": (answer(BODY, "200 OK", "connection: close"), BODY, True),
    "http/1.0": (b"HTTP/1.0 200 OK\r\n\r\n" + BODY, BODY, True),
    "http/1.0 keep-alive": (b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok", b"ok", False),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", b"", False),
    "304 with a length": (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 99\r\n\r\n", b"", False),
    "no reason": (b"HTTP/1.1 200 \r\ncontent-length: 2\r\n\r\nok", b"ok", False),
    "100 before": (b"HTTP/1.1 100 Continue\r\n\r\n" + answer(b"ok"), b"ok", False),
    "103 before": (b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + answer(b"ok"), b"ok", False),
    "102 twice": (b"HTTP/1.1 102 Processing\r\n\r\n" * 2 + answer(b"ok"), b"ok", False),
}


@pytest.mark.parametrize("case", GOOD)
@pytest.mark.parametrize("pieces", ["whole", "bytewise", "around every CRLF"])
@over(*ALL)
async def test_a_complete_answer_is_handed_over_whole(line: Line, case: str, pieces: str) -> None:
    """However it is framed and cut into packets; and the connection is reused exactly when HTTP allows it."""
    wire, body, closes = GOOD[case]

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            if pieces == "whole":
                await peer.send(wire)
            elif pieces == "bytewise":
                await peer.bytewise(wire)
            else:
                for part in _between_cr_and_lf(wire):
                    await peer.send(part)
                    await asyncio.sleep(0)
            if closes:
                return

    async with talk(line, script) as (server, client):
        for _ in range(2):
            response = await client.send("POST", "/x", content=b"{}")
            assert await whole(response) == body
            assert await response.chunk() == b""  # and ever after
            assert response.complete
            response.close()
        if line.native or closes:
            assert server.accepted == (2 if closes else 1)


def _between_cr_and_lf(wire: bytes) -> Iterator[bytes]:
    parts = wire.split(b"\r\n")
    for i, part in enumerate(parts[:-1]):
        yield (b"\n" if i else b"") + part + b"\r"
    yield b"\n" + parts[-1]


@pytest.mark.parametrize("coding", ["gzip", "deflate", "raw deflate", "br"])
@over(*ALL)
async def test_a_compressed_answer_is_decoded_as_it_comes(line: Line, coding: str) -> None:
    """Though we ask for identity: the first event is there before the second has been sent."""
    first, second = b"data: one\n\n" * 20, b"data: two\n\n" * 20
    read_first = asyncio.Event()
    squeeze = _squeezer(coding)

    async def script(peer: Peer) -> None:
        heard = await peer.request()
        assert heard.header("accept-encoding") == ["identity"]
        name = coding.split()[-1]
        head = f"HTTP/1.1 200 OK\r\ncontent-encoding: {name}\r\ntransfer-encoding: chunked\r\n\r\n".encode()
        await peer.send(head + chunk(squeeze(first, False)))
        await read_first.wait()
        await peer.send(chunk(squeeze(second, True)) + chunk(b""))

    async with talk(line, script) as (_, client), await client.send("POST", "/x") as response:
        got = b""
        while len(got) < len(first):
            got += await response.chunk()
        assert got == first
        read_first.set()
        assert await whole(response) == second


def _squeezer(coding: str) -> Callable[[bytes, bool], bytes]:
    if coding == "br":
        b = brotli.Compressor()
        return lambda data, last: b.process(data) + (b.finish() if last else b.flush())
    bits = {"gzip": 31, "deflate": 15, "raw deflate": -15}[coding]
    z = zlib.compressobj(wbits=bits)
    return lambda data, last: z.compress(data) + z.flush(zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH)


@over(*ALL)
async def test_the_request_is_what_was_asked_for(line: Line) -> None:
    """Method, target under the base path, default and own headers, host, length and body arrive as given."""
    async with RawServer(replies(answer(b"ok"))) as server:
        client = HttpClient(
            server.url + "/v1/",
            transport=line.transport,  # type: ignore[arg-type]
            headers=[("authorization", "Bearer k"), ("x-a", "default")],
            timeouts=FAST,
        )
        headers = [("content-type", "application/json"), ("X-A", "mine")]
        async with await client.send(
            "POST", "/models/a%2Fb", headers=headers, content=b'{"a":1}', query="q=1&r=%20"
        ) as response:
            assert (response.status, response.header("Content-Length")) == (200, "2")
            assert await response.read(10) == b"ok"
        await post(client, b"")
        async with await client.send("GET", "/y") as response:
            await response.read(10)
        await client.aclose()
        first, second, third = server.heard
    assert (first.method, first.target, first.body) == ("POST", "/v1/models/a%2Fb?q=1&r=%20", b'{"a":1}')
    assert first.header("host") == [f"127.0.0.1:{server.port}"]
    assert first.header("content-length") == ["7"]
    assert first.header("authorization") == ["Bearer k"]
    assert first.header("x-a") == ["mine"]
    assert first.header("content-type") == ["application/json"]
    assert first.header("accept-encoding") == ["identity"]
    assert not first.header("transfer-encoding")
    assert second.header("content-length") == ["0"]
    assert not third.header("content-length")
    assert len({n.lower() for n, _ in first.headers}) == len(first.headers)


@over(*ALL)
async def test_an_iterated_body_is_streamed(line: Line) -> None:
    """Chunked without a length, as it is with one."""

    async def pieces() -> AsyncIterator[bytes]:
        for part in (b"abc", b"", b"defg" * 5000, b"h"):
            yield part

    sent = b"abc" + b"defg" * 5000 + b"h"
    async with talk(line, replies(answer(b"ok"))) as (server, client):
        async with await client.send("POST", "/x", content=pieces()) as response:
            assert await whole(response) == b"ok"
        headers = [("content-length", str(len(sent)))]
        async with await client.send("POST", "/x", content=pieces(), headers=headers) as response:
            assert await whole(response) == b"ok"
        first, second = server.heard
    assert (first.body, first.header("transfer-encoding")) == (sent, ["chunked"])
    assert (second.body, second.header("content-length")) == (sent, [str(len(sent))])
    assert not second.header("transfer-encoding")


@over(*NATIVE)
async def test_head_has_no_body_and_keeps_the_connection(line: Line) -> None:
    """Whatever length it announces."""
    async with talk(line, replies(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n")) as (server, client):
        for _ in range(2):
            async with await client.send("HEAD", "/x") as response:
                assert (response.header("content-length"), await whole(response)) == ("500", b"")
        assert server.accepted == 1


@over(*ALL)
async def test_a_chunk_is_delivered_before_the_next_is_written(line: Line) -> None:
    """Nothing is held back: the server writes the next chunk only when the reader has had the last."""
    had: asyncio.Queue[bytes] = asyncio.Queue()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        for i in range(50):
            data = b"data: %d\n\n" % i
            await peer.send(chunk(data))
            assert await had.get() == data
        await peer.send(chunk(b""))

    async with talk(line, script) as (_, client), await client.send("POST", "/x") as response:
        while data := await response.chunk():
            had.put_nowait(data)


@over(*NATIVE)
async def test_what_one_read_brings_is_handed_over_at_once(line: Line) -> None:
    """Many chunks in one packet are one wake of the reader, not many."""
    async with talk(line, replies(CHUNKED + b"".join(chunk(b"%04d" % i) for i in range(500)) + chunk(b""))) as (
        _,
        client,
    ):
        async with await client.send("POST", "/x") as response:
            assert len(await response.chunk()) == 2000
            assert await response.chunk() == b""


@over(*ALL)
async def test_connections_are_reused_one_after_the_other(line: Line) -> None:
    """Fifty exchanges, one connection."""
    async with talk(line, replies(ALL_CHUNKED)) as (server, client):
        for _ in range(50):
            assert await post(client) == BODY
        assert server.accepted == 1


@over(*ALL)
async def test_a_body_that_is_nearly_over_can_be_released(line: Line) -> None:
    """The reader has what it wanted; the end comes a moment later, and the connection is kept."""
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        for _ in range(2):
            await peer.request()
            await peer.send(CHUNKED + chunk(b"data: [DONE]\n\n"))
            await go.wait()
            await peer.send(chunk(b""))
        await peer.gone.wait()

    async with talk(line, script, max_connections=1) as (server, client):
        response = await client.send("POST", "/x")
        assert await response.chunk() == b"data: [DONE]\n\n"
        response.release()
        go.set()
        assert await post(client) == b"data: [DONE]\n\n"
        assert server.accepted == 1


@over(*ALL)
async def test_a_released_body_that_goes_on_is_closed(line: Line) -> None:
    """Neither for ever nor for more than a little."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        while True:
            await peer.send(chunk(b"x" * 10_000))

    async with talk(line, script) as (server, client):
        response = await client.send("POST", "/x")
        response.release()
        async with asyncio.timeout(3):
            await server.peers[0].gone.wait()


# --- failures --------------------------------------------------------------------------------------------------------


class Bad(NamedTuple):
    """What the server does after the request, and what may be said of it."""

    wire: bytes
    end: str  # "close", "reset" or "wait"
    kinds: set[str]
    elsewhere: set[str] = set()  # more kinds that the libraries may say


ANY_CUT = {"reset", "premature_eof", "protocol"}
BAD_HEAD: dict[str, Bad] = {
    "close at once": Bad(b"", "close", {"reset"}, ANY_CUT),
    "reset at once": Bad(b"", "reset", {"reset"}, ANY_CUT),
    "close in the status line": Bad(b"HTTP/1.1 20", "close", {"premature_eof"}, ANY_CUT),
    "close in the headers": Bad(b"HTTP/1.1 200 OK\r\ncontent-le", "close", {"premature_eof"}, ANY_CUT),
    "close after 100": Bad(b"HTTP/1.1 100 Continue\r\n\r\n", "close", {"premature_eof"}, ANY_CUT),
    "reset in the headers": Bad(b"HTTP/1.1 200 OK\r\ncontent-le", "reset", {"reset", "premature_eof"}, ANY_CUT),
    "garbage": Bad(b"\x00\xff hello\r\n\r\n", "wait", {"protocol"}),
    "another protocol": Bad(b"SSH-2.0-OpenSSH_9.6\r\n", "wait", {"protocol"}, {"first_byte_timeout"}),
    "tls alert": Bad(b"\x15\x03\x01\x00\x02\x02\x46", "wait", {"protocol"}),
    "bad header line": Bad(b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n", "wait", {"protocol"}),
    "two lengths": Bad(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", "wait", {"protocol"}),
    "length and chunked": Bad(
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", "wait", {"protocol"}
    ),
    "negative length": Bad(b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", "wait", {"protocol"}),
    "upgrade unasked": Bad(
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n", "wait", {"protocol"}
    ),
    "status 099": Bad(b"HTTP/1.1 099 Odd\r\ncontent-length: 0\r\n\r\n", "wait", {"protocol"}),
    "huge header": Bad(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 300_000, "wait", {"too_large"}, {"protocol"}),
    "huge status line": Bad(b"HTTP/1.1 200 " + b"y" * 300_000, "wait", {"too_large"}, {"protocol"}),
    "many headers": Bad(
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"x-%d: y\r\n" % i for i in range(40_000)) + b"\r\n",
        "wait",
        {"too_large"},
        {"protocol"},
    ),
    "endless 102": Bad(b"HTTP/1.1 102 Processing\r\nx-a: bcdefgh\r\n\r\n" * 10_000, "wait", {"too_large"}),
}
# Libraries that let these pass hand over what they understood, which is not a cut answer: that is theirs to answer for.
LENIENT = {
    "aiohttp": {"two lengths", "status 099", "endless 102", "many headers", "upgrade unasked", "length and chunked"},
    "httpx": {"length and chunked", "status 099", "endless 102", "upgrade unasked", "two lengths"},
}


def misbehave(bad: Bad) -> Callable[[Peer], Awaitable[None]]:
    async def script(peer: Peer) -> None:
        await peer.request()
        with contextlib.suppress(ClientGone):
            await peer.send(bad.wire)
        if bad.end == "reset":
            peer.reset()
        elif bad.end == "wait":
            await peer.gone.wait()

    return script


@pytest.mark.parametrize("case", BAD_HEAD)
@over(*ALL)
async def test_a_bad_head_is_an_error(line: Line, case: str) -> None:
    """It is said which, the request counts as sent, and the connection is closed."""
    bad = BAD_HEAD[case]
    if case in LENIENT.get(line.transport, ()):
        pytest.skip(f"{line.transport} accepts it")
    async with talk(line, misbehave(bad)) as (server, client):
        with pytest.raises(TransportError) as caught:
            await post(client)
        assert caught.value.kind in (bad.kinds if line.native else bad.kinds | bad.elsewhere)
        assert caught.value.sent
        assert server.accepted == 1
        if line.native:
            assert caught.value.response_started == bool(bad.wire)
            await asyncio.wait_for(server.peers[0].gone.wait(), AT_ONCE_S)


SHORT = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n"
BAD_BODY: dict[str, tuple[Bad, bytes]] = {
    "length, close": (Bad(SHORT + b"abc", "close", {"premature_eof"}, ANY_CUT), b"abc"),
    "length, close before any": (Bad(SHORT, "close", {"premature_eof"}, ANY_CUT), b""),
    "length, close one short": (Bad(SHORT + b"x" * 99, "close", {"premature_eof"}, ANY_CUT), b"x" * 99),
    "chunked, close between chunks": (Bad(CHUNKED + chunk(b"abc"), "close", {"premature_eof"}, ANY_CUT), b"abc"),
    "chunked, close in a chunk": (Bad(CHUNKED + b"ff\r\nabc", "close", {"premature_eof"}, ANY_CUT), b"abc"),
    "chunked, close in a size": (Bad(CHUNKED + chunk(b"abc") + b"f", "close", {"premature_eof"}, ANY_CUT), b"abc"),
    "chunked, close before the last CRLF": (
        Bad(CHUNKED + chunk(b"abc") + b"0\r\n", "close", {"premature_eof"}, ANY_CUT),
        b"abc",
    ),
    "chunked, bad size": (Bad(CHUNKED + chunk(b"abc") + b"zz\r\n", "wait", {"protocol"}), b"abc"),
    "chunked, data longer than its size": (Bad(CHUNKED + b"2\r\nabc\r\n", "wait", {"protocol"}), b"ab"),
    "chunked, huge size": (Bad(CHUNKED + chunk(b"abc") + b"f" * 40 + b"\r\n", "wait", {"protocol"}), b"abc"),
    "endless trailer": (
        Bad(CHUNKED + chunk(b"abc") + b"0\r\nx: " + b"y" * 300_000, "wait", {"too_large"}, {"protocol"}),
        b"abc",
    ),
    "gzip, cut": (
        Bad(
            answer(gzip.compress(b"abc" * 1000)[:-6], "200 OK", "content-encoding: gzip"),
            "wait",
            {"premature_eof"},
        ),
        b"abc" * 1000,
    ),
    "gzip, corrupt": (
        Bad(answer(b"\x1f\x8b" + b"\xff" * 40, "200 OK", "content-encoding: gzip"), "wait", {"protocol"}),
        b"",
    ),
}
LENIENT_BODY = {"aiohttp": {"endless trailer"}, "httpx": {"endless trailer", "chunked, huge size"}}


@pytest.mark.parametrize("case", BAD_BODY)
@over(*ALL)
async def test_a_cut_body_is_an_error_after_its_last_byte(line: Line, case: str) -> None:
    """Never a clean end; what had come before is handed over first; the error stays."""
    bad, body = BAD_BODY[case]
    if case in LENIENT_BODY.get(line.transport, ()):
        pytest.skip(f"{line.transport} accepts it")
    async with talk(line, misbehave(bad)) as (server, client):
        got = b""
        response: HttpResponse | None = None
        with pytest.raises(TransportError) as caught:
            response = await client.send("POST", "/x", content=b"{}")
            while data := await response.chunk():
                got += data
        assert caught.value.kind in (bad.kinds if line.native else bad.kinds | bad.elsewhere)
        assert caught.value.sent
        if line.native:
            assert caught.value.response_started
            assert got == body
            assert response is not None
            if "gzip" not in case:
                with pytest.raises(TransportError, match=caught.value.kind):
                    await response.chunk()
        else:
            assert body.startswith(got)
        async with asyncio.timeout(1 if not line.native else AT_ONCE_S):
            if response is not None:
                response.close()
            if bad.end == "wait" and "gzip" not in case:
                await server.peers[0].gone.wait()


@over(*ALL)
async def test_a_reset_in_the_body_is_an_error(line: Line) -> None:
    """The reset comes when the reader has had the first bytes."""
    had = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED + chunk(b"abc"))
        await had.wait()
        peer.reset()

    async with talk(line, script) as (_, client):
        response = await client.send("POST", "/x")
        assert await response.chunk() == b"abc"
        had.set()
        with pytest.raises(TransportError) as caught:
            await response.chunk()
        assert caught.value.kind in ({"reset"} if line.native else ANY_CUT)
        assert caught.value.response_started
        response.close()


@over(*ALL)
async def test_a_refused_connection(line: Line) -> None:
    """Nothing was sent, and it says so."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        client = HttpClient(f"http://127.0.0.1:{port}", transport=line.transport, timeouts=FAST)  # type: ignore[arg-type]
        with pytest.raises(TransportError) as caught:
            await post(client)
        assert (caught.value.kind, caught.value.sent, caught.value.response_started) == ("connect", False, False)
        await client.aclose()


@over(*ALL)
async def test_a_name_that_does_not_resolve(line: Line) -> None:
    """`.invalid` never does."""
    client = HttpClient("http://no-such-host.invalid", transport=line.transport, timeouts=FAST)  # type: ignore[arg-type]
    with pytest.raises(TransportError) as caught:
        await post(client)
    assert caught.value.kind in ("connect", "connect_timeout")
    assert not caught.value.sent
    await client.aclose()


# --- clocks ----------------------------------------------------------------------------------------------------------


@over(*ALL)
async def test_connect_timeout_covers_the_handshake(line: Line, authority: trustme.CA) -> None:
    """A server that takes the connection and never says a word of TLS."""

    async def script(peer: Peer) -> None:
        await peer.gone.wait()

    async with RawServer(script, host="127.0.0.1") as server:
        url = f"https://localhost:{server.port}"
        clocks = Timeouts(connect_s=0.2, total_s=5.0)
        client = HttpClient(url, transport=line.transport, timeouts=clocks)  # type: ignore[arg-type]
        began = asyncio.get_running_loop().time()
        with pytest.raises(TransportError) as caught:
            await post(client)
        assert (caught.value.kind, caught.value.sent) == ("connect_timeout", False)
        assert 0.15 < asyncio.get_running_loop().time() - began < 2.0
        async with asyncio.timeout(1):
            await server.until(lambda: not server.open)
        await client.aclose()


@over(*NOT_HTTPX)
async def test_connect_timeout_of_a_full_backlog(line: Line) -> None:
    """A listener that accepts nobody: the SYN goes unanswered."""
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        for _ in range(8):  # fill the queue
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(address)
        clocks = Timeouts(connect_s=0.2)
        client = HttpClient(f"http://127.0.0.1:{address[1]}", transport=line.transport, timeouts=clocks)  # type: ignore[arg-type]
        with pytest.raises(TransportError) as caught:
            await post(client)
        assert (caught.value.kind, caught.value.sent) == ("connect_timeout", False)
        await client.aclose()


@over(*ALL)
async def test_first_byte_timeout(line: Line) -> None:
    """Half a head is no head; the socket is closed."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n")
        await peer.gone.wait()

    async with talk(line, script) as (server, client):
        clocks = Timeouts(first_byte_s=0.2, between_bytes_s=5.0)
        began = asyncio.get_running_loop().time()
        with pytest.raises(TransportError) as caught:
            await post(client, timeouts=clocks)
        assert (caught.value.kind, caught.value.sent, caught.value.is_timeout) == ("first_byte_timeout", True, True)
        assert 0.15 < asyncio.get_running_loop().time() - began < 1.0
        await asyncio.wait_for(server.peers[0].gone.wait(), AT_ONCE_S)


@over(*ALL)
async def test_between_bytes_timeout(line: Line) -> None:
    """The clock starts anew with every byte, and fires once a pause is too long."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        for _ in range(8):
            await peer.send(chunk(b"tick"))
            await asyncio.sleep(0.05)
        await peer.gone.wait()

    async with talk(line, script) as (server, client):
        clocks = Timeouts(first_byte_s=5.0, between_bytes_s=0.2)
        response = await client.send("POST", "/x", timeouts=clocks)
        got = b""
        with pytest.raises(TransportError) as caught:
            while True:
                got += await response.chunk()
        assert got == b"tick" * 8
        assert (caught.value.kind, caught.value.response_started) == ("between_bytes_timeout", True)
        await asyncio.wait_for(server.peers[0].gone.wait(), AT_ONCE_S)


@over(*ALL)
async def test_a_slow_reader_does_not_run_the_upstreams_clock(line: Line) -> None:
    """What has come stays readable; silence that we caused is not a timeout."""
    total = 4 * 1024 * 1024

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % total)
        for _ in range(64):
            await peer.send(b"x" * (total // 64))
        await peer.gone.wait()

    async with talk(line, script) as (_, client):
        response = await client.send("POST", "/x", timeouts=Timeouts(between_bytes_s=0.2))
        await asyncio.sleep(0.6)  # longer than the clock: this is the thing under test
        assert len(await whole(response)) == total


@over(*ALL)
async def test_total_timeout(line: Line) -> None:
    """However lively the body is."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        while True:
            await peer.send(chunk(b"tick"))
            await asyncio.sleep(0.02)

    async with talk(line, script) as (server, client):
        response = await client.send("POST", "/x", timeouts=Timeouts(between_bytes_s=5.0, total_s=0.3))
        with pytest.raises(TransportError) as caught:
            await whole(response)
        assert caught.value.kind == "total_timeout"
        await asyncio.wait_for(server.peers[0].gone.wait(), AT_ONCE_S)


@over(*NATIVE)
async def test_an_upstream_that_takes_no_request_runs_into_the_first_byte_clock(line: Line) -> None:
    """Slow taking is not a stall; none at all is."""

    over = asyncio.Event()

    async def script(peer: Peer) -> None:
        peer.stop_reading()
        await over.wait()
        peer.read_on()
        await peer.gone.wait()

    async with talk(line, script) as (_, client):
        with pytest.raises(TransportError) as caught:
            await post(client, b"x" * 64_000_000, timeouts=Timeouts(first_byte_s=0.3))
        assert (caught.value.kind, caught.value.sent) == ("first_byte_timeout", True)
        over.set()


# --- stale connections -----------------------------------------------------------------------------------------------


@over(*ALL)
async def test_a_connection_closed_while_idle_is_not_used(line: Line) -> None:
    """The server closes right after the answer; the next request goes out on a new connection."""
    async with talk(line, replies(answer(b"ok"), then_close=True)) as (server, client):
        for n in range(1, 4):
            assert await post(client) == b"ok"
            async with asyncio.timeout(2):
                await server.until(lambda: not server.open)
            assert server.accepted == n


def closes_on_the_second(fresh: bytes | None, goodbye: bytes = b"") -> Callable[[Peer], Awaitable[None]]:
    """The first connection answers once and closes when it gets a second request, having said `goodbye`; later ones
    answer with `fresh`, or close at once if that is None."""
    count = 0

    async def script(peer: Peer) -> None:
        nonlocal count
        count += 1
        if count == 1:
            await peer.request()
            await peer.send(answer(b"first"))
            await peer.request()
            if goodbye:
                await peer.send(goodbye)
            return
        while True:
            await peer.request()
            if fresh is None:
                return
            await peer.send(fresh)

    return script


@pytest.mark.parametrize("method", ["GET", "POST"])
@over(*ALL)
async def test_a_stale_connection_is_retried_on_a_fresh_one(line: Line, method: str) -> None:
    """Closed before any byte of an answer: nobody notices."""
    async with talk(line, closes_on_the_second(answer(b"second"))) as (server, client):
        for expected in (b"first", b"second", b"second"):
            async with await client.send(method, "/x") as response:
                assert await whole(response) == expected
        assert server.accepted == 2
        assert len(server.heard) == 4


@over(*ALL)
async def test_it_is_retried_only_once(line: Line) -> None:
    """A fresh connection that closes is the upstream's fault, not a stale one."""
    async with talk(line, closes_on_the_second(None)) as (server, client):
        assert await post(client) == b"first"
        with pytest.raises(TransportError) as caught:
            await post(client)
        assert caught.value.kind in ({"reset"} if line.native else ANY_CUT)
        assert caught.value.sent
        assert server.accepted == 2


@over(*NATIVE)
async def test_an_answer_that_had_begun_is_not_asked_for_again(line: Line) -> None:
    """One byte is enough."""
    async with talk(line, closes_on_the_second(answer(b"never"), goodbye=b"H")) as (server, client):
        assert await post(client) == b"first"
        with pytest.raises(TransportError) as caught:
            await post(client)
        assert (caught.value.kind, caught.value.response_started) == ("premature_eof", True)
        assert server.accepted == 1


@over(*ALL)
async def test_a_late_death_is_retried_for_idempotent_methods_only(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the window the upstream may have worked on it: a POST is not sent twice."""
    monkeypatch.setattr(retry, "WINDOW_S", -1.0)
    async with talk(line, closes_on_the_second(answer(b"second"))) as (server, client):
        assert await post(client) == b"first"
        with pytest.raises(TransportError):
            await post(client)
        assert server.accepted == 1
    async with talk(line, closes_on_the_second(answer(b"second"))) as (server, client):
        assert await post(client) == b"first"
        async with await client.send("GET", "/x") as response:
            assert await whole(response) == b"second"


@over(*NATIVE)
async def test_a_body_that_cannot_be_replayed_takes_a_fresh_connection(line: Line) -> None:
    """So that it can never meet a stale one."""

    async def pieces() -> AsyncIterator[bytes]:
        yield b"once"

    async with talk(line, replies(answer(b"ok"))) as (server, client):
        await post(client)
        async with await client.send("POST", "/x", content=pieces()) as response:
            assert await whole(response) == b"ok"
        assert server.accepted == 2


@over(*NATIVE)
async def test_an_idle_connection_expires_before_the_backends_own_limit(line: Line) -> None:
    """By our clock, and earlier where the backend announces its own."""
    hint = answer(b"ok", "200 OK", "keep-alive: timeout=1")
    async with talk(line, replies(hint)) as (server, client):
        await post(client)
        async with asyncio.timeout(1):
            await server.until(lambda: not server.open)
    async with talk(line, replies(answer(b"ok")), keepalive_expiry_s=0.15) as (server, client):
        await post(client)
        assert len(server.open) == 1
        async with asyncio.timeout(1):
            await server.until(lambda: not server.open)
        await post(client)
        assert server.accepted == 2


@pytest.mark.parametrize("where", ["same packet", "later"])
@over(*NATIVE)
async def test_surplus_bytes_end_the_connection(line: Line, where: str) -> None:
    """Bytes that nobody asked for never become somebody else's answer."""
    evil = answer(b"evil")

    async def script(peer: Peer) -> None:
        await peer.request()
        if where == "same packet":
            await peer.send(answer(b"ok") + evil)
        else:
            await peer.send(answer(b"ok"))
            await asyncio.sleep(0.02)
            await peer.send(evil)
        await peer.gone.wait()

    async with talk(line, script) as (server, client):
        assert await post(client) == b"ok"
        await asyncio.wait_for(server.peers[0].gone.wait(), 1)
        assert await post(client) == b"ok"
        assert server.accepted == 2


# --- the pool --------------------------------------------------------------------------------------------------------


@over(*ALL)
async def test_the_limit_holds_and_the_queue_is_fair(line: Line) -> None:
    """Never more than two connections, and first come is first served."""
    gate = asyncio.Semaphore(0)

    async def script(peer: Peer) -> None:
        while True:
            heard = await peer.request()
            await gate.acquire()
            await peer.send(answer(heard.target.encode()))

    async with talk(line, script, max_connections=2) as (server, client):

        async def one(n: int) -> bytes:
            async with await client.send("POST", f"/{n}") as response:
                return await whole(response)

        tasks = []
        for n in range(12):
            tasks.append(asyncio.create_task(one(n)))
            await asyncio.sleep(0)
        for n in range(12):
            gate.release()
            await asyncio.wait(tasks[: n + 1], timeout=1)
        assert await asyncio.gather(*tasks) == [b"/%d" % n for n in range(12)]
        order = [h.target for h in server.heard]
        # two at a time: who was asked first is heard first, within a pair that runs side by side
        assert all(abs(order.index(f"/{n}") - n) <= 1 for n in range(12)), order
        assert server.peak <= 2


@over(*ALL)
async def test_pool_timeout(line: Line) -> None:
    """Nothing was sent; the place in the queue is gone."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(CHUNKED + chunk(b"x"))
            await peer.gone.wait()

    async with talk(line, script, max_connections=1) as (server, client):
        holder = await client.send("POST", "/holder")
        with pytest.raises(TransportError) as caught:
            await post(client, timeouts=Timeouts(pool_s=0.1))
        assert (caught.value.kind, caught.value.sent) == ("pool_timeout", False)
        with pytest.raises(TransportError) as caught:
            await post(client, timeouts=Timeouts(pool_s=5.0, total_s=0.1))
        assert caught.value.kind == "total_timeout"
        holder.close()
        response = await client.send("POST", "/next")
        assert await response.chunk() == b"x"
        response.close()
        assert [h.target for h in server.heard] == ["/holder", "/next"]


@over(*ALL)
async def test_a_cancelled_waiter_leaves_nothing(line: Line) -> None:
    """Cancelled while waiting, and in the very turn in which it is granted."""
    finish = asyncio.Event()

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await finish.wait()
            await peer.send(answer(b"ok"))

    async with talk(line, script, max_connections=1) as (server, client):
        holder = asyncio.create_task(post(client))
        await server.until(lambda: server.accepted == 1)
        waiters = [asyncio.create_task(post(client)) for _ in range(5)]
        await asyncio.sleep(0)
        waiters[0].cancel()
        waiters[3].cancel()
        finish.set()
        await holder
        waiters[1].cancel()  # first in line: it may just have been given the connection
        ended = await asyncio.gather(*waiters, return_exceptions=True)
        assert [ended[2], ended[4]] == [b"ok", b"ok"]
        assert isinstance(ended[0], asyncio.CancelledError)
        assert isinstance(ended[3], asyncio.CancelledError)
        assert await post(client) == b"ok"
        assert server.peak == 1


# --- leaving ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["head", "body", "iterated request"])
@over(*ALL)
async def test_cancelling_closes_the_socket_at_once(line: Line, when: str) -> None:
    """The server sees it within 100 ms, in every phase."""
    reached = asyncio.Event()

    async def script(peer: Peer) -> None:
        if when == "iterated request":
            await peer.until(b"first piece")
            reached.set()
        else:
            await peer.request()
            if when == "body":
                await peer.send(CHUNKED + chunk(b"abc"))
            else:
                reached.set()
        await peer.gone.wait()

    async def endless() -> AsyncIterator[bytes]:
        yield b"first piece"
        await asyncio.Event().wait()

    async def call(client: HttpClient) -> None:
        content = endless() if when == "iterated request" else b"{}"
        async with await client.send("POST", "/x", content=content) as response:
            assert await response.chunk() == b"abc"
            reached.set()
            await response.chunk()

    async with talk(line, script) as (server, client):
        task = asyncio.create_task(call(client))
        await reached.wait()
        await asyncio.sleep(0.01)  # the client is waiting by now
        task.cancel()
        await asyncio.wait_for(server.peers[0].gone.wait(), AT_ONCE_S)
        with pytest.raises(asyncio.CancelledError):
            await task


@over(*ALL)
async def test_closing_a_response_closes_the_socket_at_once(line: Line) -> None:
    """Without an await of ours; twice is once; reading afterwards says so."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED + chunk(b"abc"))
        await peer.gone.wait()

    async with talk(line, script) as (server, client):
        response = await client.send("POST", "/x")
        assert await response.chunk() == b"abc"
        response.close()
        response.close()
        await asyncio.wait_for(server.peers[0].gone.wait(), AT_ONCE_S)
        with pytest.raises(TransportError, match="closed"):
            await response.chunk()


@over(*ALL)
async def test_a_cancelled_read_loses_nothing(line: Line) -> None:
    """A reader may look away (to say that it is still alive) and come back."""
    send = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        await send.wait()
        await peer.send(chunk(b"abc") + chunk(b""))

    async with talk(line, script) as (_, client), await client.send("POST", "/x") as response:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await response.chunk()
        send.set()
        assert await whole(response) == b"abc"


@over(*ALL)
async def test_a_lost_response_does_not_keep_its_connection(line: Line) -> None:
    """Somebody forgot to close it: the collector does."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED + chunk(b"abc"))
        await peer.gone.wait()

    async with talk(line, script) as (server, client):
        response = await client.send("POST", "/x")
        del response
        await asyncio.wait_for(server.peers[0].gone.wait(), 1)


@over(*ALL)
async def test_closing_the_client_ends_everything(line: Line) -> None:
    """Busy, idle and waiting ones; afterwards it refuses to work."""

    async def script(peer: Peer) -> None:
        while (await peer.request()).target == "/quick":
            await peer.send(answer(b"ok"))
        await peer.send(CHUNKED + chunk(b"abc"))
        await peer.gone.wait()

    async with talk(line, script, max_connections=2) as (server, client):
        async with await client.send("POST", "/quick") as quick:
            await whole(quick)
        first, second = await client.send("POST", "/a"), await client.send("POST", "/b")
        waiter = asyncio.create_task(post(client))
        await asyncio.sleep(0)
        assert await first.chunk() == b"abc"
        await client.aclose()
        async with asyncio.timeout(1):
            await server.until(lambda: not server.open)
        for response in (first, second):
            with pytest.raises(TransportError):
                await whole(response)
        for doomed in (waiter, asyncio.create_task(post(client))):
            with pytest.raises(TransportError) as caught:
                await doomed
            assert caught.value.kind == "closed"
        await client.aclose()


# --- back-pressure ---------------------------------------------------------------------------------------------------


@over(*ALL)
async def test_an_unread_body_stops_the_server(line: Line) -> None:
    """The server cannot write on while nobody reads; then all of it arrives."""
    piece, total = b"x" * 65536, 64 * 1024 * 1024
    stuck = asyncio.Event()

    async def script(peer: Peer) -> None:
        peer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % total)
        for _ in range(total // len(piece)):
            writing = asyncio.create_task(peer.send(piece))
            done, _ = await asyncio.wait({writing}, timeout=0.3)
            if not done:
                stuck.set()
            await writing
        await peer.gone.wait()

    async with talk(line, script, timeouts=Timeouts()) as (server, client):
        response = await client.send("POST", "/x")
        await asyncio.wait_for(stuck.wait(), 5)
        assert server.peers[0].taken < 16 * 1024 * 1024  # socket buffers, ours, and no more
        size = 0
        while data := await response.chunk():
            size += len(data)
            assert len(data) <= 1024 * 1024
        assert size == total


@over(*NATIVE)
async def test_a_server_that_does_not_read_stops_the_iterator(line: Line) -> None:
    """A large upload is pulled from its source at the upstream's pace."""
    pulled, read_on = 0, asyncio.Event()
    piece, count = b"x" * 65536, 512

    async def source() -> AsyncIterator[bytes]:
        nonlocal pulled
        for _ in range(count):
            pulled += 1
            yield piece

    async def script(peer: Peer) -> None:
        peer.stop_reading()
        await read_on.wait()
        peer.read_on()
        heard = await peer.request()
        await peer.send(answer(b"%d" % len(heard.body)))

    async with talk(line, script) as (_, client):
        task = asyncio.create_task(client.send("POST", "/x", content=source()))
        before = -1
        while pulled != before:
            before = pulled
            await asyncio.sleep(0.1)
        assert 0 < pulled < count // 2
        read_on.set()
        async with await task as response:
            assert await whole(response) == b"%d" % (count * len(piece))


@pytest.mark.parametrize("kind", ["bytes", "iterated"])
@over(*NATIVE)
async def test_an_early_answer_is_read_while_the_body_is_still_being_sent(line: Line, kind: str) -> None:
    """413 and a closed door: the answer counts, not the broken pipe."""

    async def script(peer: Peer) -> None:
        await peer.until(b"\r\n\r\n")
        peer.stop_reading()
        await peer.send(answer(b"too big", "413 Content Too Large", "connection: close"))

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(1000):
            yield b"x" * 65536

    async with talk(line, script) as (server, client):
        content = b"x" * 65_536_000 if kind == "bytes" else pieces()
        async with await client.send("POST", "/x", content=content) as response:
            assert (response.status, await whole(response)) == (413, b"too big")
        await asyncio.wait_for(server.peers[0].gone.wait(), 1)


@over(*ALL)
async def test_the_callers_iterator_may_fail(line: Line) -> None:
    """Its own exception comes out, and the half-sent request is closed."""

    class Broken(Exception):
        pass

    async def pieces() -> AsyncIterator[bytes]:
        yield b"some"
        raise Broken

    async def script(peer: Peer) -> None:
        await peer.gone.wait()

    async with talk(line, script) as (server, client):
        with pytest.raises(Broken):
            await client.send("POST", "/x", content=pieces())
        async with asyncio.timeout(1):
            await server.until(lambda: not server.open)


# --- TLS and unix sockets --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """A certificate authority of our own."""
    return trustme.CA()


def server_tls(cert: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["h2", "http/1.1"])
    cert.configure_cert(context)
    return context


@over(*ALL)
async def test_tls_with_a_trusted_authority(line: Line, authority: trustme.CA, tmp_path: Path) -> None:
    """Exchanges, reuse and streaming over TLS; the name is sent, HTTP/1.1 is negotiated."""
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca)
    context = server_tls(authority.issue_cert("localhost"))
    names: list[str | None] = []
    context.sni_callback = lambda sock, name, ctx: names.append(name)
    async with talk(line, replies(ALL_CHUNKED), tls=context, verify=str(ca)) as (server, client):
        for _ in range(3):
            assert await post(client) == BODY
        assert server.accepted == 1
        chosen = server.peers[0].transport.get_extra_info("ssl_object").selected_alpn_protocol()
        assert chosen in (("http/1.1",) if line.native else ("http/1.1", None))
    assert names == ["localhost"]


@over(*ALL)
async def test_tls_closes_at_once(line: Line, authority: trustme.CA, tmp_path: Path) -> None:
    """No waiting for a farewell."""
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca)

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED + chunk(b"abc"))
        await peer.gone.wait()

    context = server_tls(authority.issue_cert("localhost"))
    async with talk(line, script, tls=context, verify=str(ca)) as (server, client):
        response = await client.send("POST", "/x")
        assert await response.chunk() == b"abc"
        response.close()
        await asyncio.wait_for(server.peers[0].gone.wait(), AT_ONCE_S)


@pytest.mark.parametrize("trouble", ["unknown authority", "wrong host", "expired", "not TLS at all"])
@over(*ALL)
async def test_tls_that_cannot_be_trusted(line: Line, authority: trustme.CA, tmp_path: Path, trouble: str) -> None:
    """It is an error before anything is sent."""
    import datetime

    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca)
    expired = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC) if trouble == "expired" else None
    cert = authority.issue_cert("other.example" if trouble == "wrong host" else "localhost", not_after=expired)
    tls = None if trouble == "not TLS at all" else server_tls(cert)

    async def script(peer: Peer) -> None:
        await peer.request()
        raise AssertionError("a request came through")

    async def garbage(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await peer.gone.wait()

    async with RawServer(script if tls else garbage, tls=tls) as server:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)  # the server's own TLS complaints
        verify: bool | str = True if trouble == "unknown authority" else str(ca)
        client = HttpClient(
            f"https://localhost:{server.port}",
            transport=line.transport,  # type: ignore[arg-type]
            verify=verify,
            timeouts=FAST,
        )
        with pytest.raises(TransportError) as caught:
            await post(client)
        assert (caught.value.kind, caught.value.sent) == ("tls", False)
        await client.aclose()


@over(*ALL)
async def test_verification_can_be_turned_off(line: Line, authority: trustme.CA) -> None:
    """For those who say so."""
    tls = server_tls(authority.issue_cert("other.example"))
    async with talk(line, replies(answer(b"ok")), tls=tls, verify=False) as (_, client):
        assert await post(client) == b"ok"


@over(*ALL)
async def test_unix_socket(line: Line, tmp_path: Path) -> None:
    """Exchanges, reuse, and closing at once."""
    path = str(tmp_path / "s")

    async def script(peer: Peer) -> None:
        while (await peer.request()).target != "/hold":
            await peer.send(answer(b"ok"))
        await peer.send(CHUNKED + chunk(b"abc"))
        await peer.gone.wait()

    async with talk(line, script, uds=path) as (server, client):
        assert await post(client) == b"ok"
        response = await client.send("POST", "/hold")
        assert await response.chunk() == b"abc"
        assert server.accepted == 1
        assert server.heard[0].header("host") == ["localhost"]
        response.close()
        await asyncio.wait_for(server.peers[0].gone.wait(), AT_ONCE_S)


@over(*ALL)
async def test_a_unix_socket_that_is_not_there(line: Line, tmp_path: Path) -> None:
    """As a refused connection."""
    client = HttpClient("http://localhost", transport=line.transport, uds=str(tmp_path / "no"), timeouts=FAST)  # type: ignore[arg-type]
    with pytest.raises(TransportError) as caught:
        await post(client)
    assert (caught.value.kind, caught.value.sent) == ("connect", False)
    await client.aclose()


# --- everything at once ----------------------------------------------------------------------------------------------


@over(*NATIVE, "aiohttp")
async def test_five_hundred_random_faults_leak_nothing(line: Line) -> None:
    """Each call ends complete, failed or cancelled; sockets, tasks, slots and waiters are all gone afterwards."""
    dice = random.Random(20261121)
    wires = [w for w, _, _ in GOOD.values()] + [b.wire[:2000] for b, _ in BAD_BODY.values()]
    wires += [b.wire[:2000] for b in BAD_HEAD.values()]

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            wire = dice.choice(wires)
            cut = dice.randrange(len(wire) + 1)
            await peer.send(wire[:cut])
            await asyncio.sleep(dice.choice([0, 0, 0.002]))
            end = dice.random()
            if end < 0.2:
                return peer.reset()
            if end < 0.4:
                return None
            if end < 0.9:
                await peer.send(wire[cut:])

    clocks = Timeouts(connect_s=2, first_byte_s=0.1, between_bytes_s=0.1, total_s=0.5, pool_s=1.0)
    ends: dict[str, int] = {}
    async with talk(line, script, max_connections=8, timeouts=clocks) as (server, client):

        async def one() -> None:
            try:
                async with await client.send("POST", "/x", content=b"{}") as response:
                    if dice.random() < 0.1:
                        return
                    await whole(response)
                end = "complete"
            except TransportError as error:
                end = error.kind
            ends[end] = ends.get(end, 0) + 1

        tasks: set[asyncio.Task[None]] = set()
        for _ in range(500):
            task = asyncio.create_task(one())
            tasks.add(task)
            if dice.random() < 0.05:
                asyncio.get_running_loop().call_later(dice.random() * 0.02, task.cancel)
            if len(tasks) >= 16:
                _, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait(tasks)
        assert ends["complete"] > 50
        assert len(ends) >= 4, ends
        assert server.peak <= 8 + 2  # a closed one may still be on its way out as the server sees it
        if client._native is not None:
            (pool,) = client._native._pools.values()
            assert pool.waiting == 0
            assert pool.size == pool.idle
