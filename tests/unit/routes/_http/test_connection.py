"""Our protocol under a real socket: keep-alive, pipelining, limits, what is no HTTP, and clients that leave or stop."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from routes._http.connection import MAX_HEAD, Connection

App = Callable[[Any, Any, Any], Awaitable[None]]
GET = b"GET /a?b=1 HTTP/1.1\r\nhost: x\r\n\r\n"


class Served:
    """A listening app; `state` is what uvicorn's server keeps."""

    def __init__(self, port: int, state: Any) -> None:
        self.port = port
        self.state = state
        self.clients: list[Client] = []

    async def connect(self) -> "Client":
        self.clients.append(Client(*await asyncio.open_connection("127.0.0.1", self.port)))
        return self.clients[-1]


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """The next answer with a length, or in chunks."""
        head = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 5)).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        if "content-length" in headers:
            body = await asyncio.wait_for(self.reader.readexactly(int(headers["content-length"])), 5)
        else:
            body = await self.chunks() if "transfer-encoding" in headers else b""
        return int(head[0].split()[1]), headers, body

    async def chunks(self) -> bytes:
        out = b""
        while size := int(await asyncio.wait_for(self.reader.readline(), 5), 16):
            out += (await self.reader.readexactly(size + 2))[:-2]
        await self.reader.readline()
        return out

    async def closed(self) -> bool:
        """Whether nothing more comes, and the end does."""
        try:
            return await asyncio.wait_for(self.reader.read(), 5) == b""
        except ConnectionError:
            return True


@asynccontextmanager
async def served(app: App, idle_s: float = 60) -> AsyncIterator[Served]:
    state = SimpleNamespace(connections=set(), tasks=set(), total_requests=0, default_headers=[(b"date", b"today")])
    config = SimpleNamespace(loaded=True, loaded_app=app, root_path="", timeout_keep_alive=idle_s)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(config, state, {}), "127.0.0.1", 0)
    here = Served(server.sockets[0].getsockname()[1], state)
    try:
        yield here
    finally:
        server.close()
        for client in here.clients:
            client.writer.close()
            with contextlib.suppress(ConnectionError):
                await client.writer.wait_closed()
        for connection in list(state.connections):
            connection.transport.abort()
        if state.tasks:
            await asyncio.wait(state.tasks, timeout=5)
        assert not state.tasks


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Method, path, query and body; in two pieces."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body, more = body + message["body"], message["more_body"]
    said = f"{scope['method']} {scope['path']} {scope['query_string'].decode()} ".encode() + body
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": said[:3], "more_body": True})
    await send({"type": "http.response.body", "body": said[3:]})


@pytest.mark.asyncio
async def test_a_connection_is_kept_and_pipelined_requests_are_answered_in_order() -> None:
    async with served(echo) as here:
        client = await here.connect()
        client.writer.write(GET)
        assert (await client.answer())[2] == b"GET /a b=1 "
        posts = [b"POST /%d HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n%02d" % (n, n) for n in range(20)]
        client.writer.write(b"".join(posts))
        for n in range(20):
            status, headers, body = await client.answer()
            assert (status, headers["date"], body) == (200, "today", b"POST /%d  %02d" % (n, n))
        assert here.state.total_requests == 21


@pytest.mark.asyncio
async def test_a_request_may_come_byte_by_byte_and_its_body_in_chunks() -> None:
    async with served(echo) as here:
        client = await here.connect()
        whole = (
            b"POST /%C3%A9 HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        )
        for byte in whole:
            client.writer.write(bytes([byte]))
            await client.writer.drain()
            await asyncio.sleep(0)
        assert (await client.answer())[2] == "POST /é  abcde".encode()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (b"\x16\x03\x01 hello\r\n\r\n", 400, b"invalid_request"),
        (b"GET / HTTP/1.1\r\nhost: x\r\nno colon\r\n\r\n", 400, b"invalid_request"),
        (b"GET / HTTP/1.1\r\nx: " + b"y" * MAX_HEAD + b"\r\n\r\n", 431, b"request_head_too_large"),
        (b"GET /" + b"y" * MAX_HEAD + b" HTTP/1.1\r\n\r\n", 431, b"request_head_too_large"),
        (b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 300 + b"\r\n", 431, b"request_head_too_large"),
    ],
    ids=["no HTTP", "no header", "long header", "long line", "many headers"],
)
async def test_what_is_refused_before_any_app(request_: bytes, status: int, code: bytes) -> None:
    async with served(echo) as here:
        client = await here.connect()
        client.writer.write(request_)
        answered, headers, body = await client.answer()
        assert (answered, headers["connection"]) == (status, "close")
        assert code in body
        assert await client.closed()


@pytest.mark.asyncio
@pytest.mark.parametrize("ask", [b"connection: close\r\n", b""], ids=["close", "HTTP/1.0"])
async def test_who_asks_for_the_end_gets_it(ask: bytes) -> None:
    version = b"1.1" if ask else b"1.0"
    async with served(echo) as here:
        client = await here.connect()
        client.writer.write(b"GET /a HTTP/%b\r\nhost: x\r\n%b\r\n" % (version, ask))
        said = await asyncio.wait_for(client.reader.read(), 5)
        assert said.startswith(b"HTTP/1.1 200")
        assert b"/a" in said


@pytest.mark.asyncio
async def test_an_upgrade_that_nobody_offers_is_an_ordinary_request() -> None:
    async with served(echo) as here:
        client = await here.connect()
        client.writer.write(b"GET /a HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n")
        assert (await client.answer())[2] == b"GET /a  "
        assert await client.closed()


@pytest.mark.asyncio
@pytest.mark.parametrize("begun", [False, True])
async def test_an_app_that_crashes(begun: bool) -> None:
    async def crashing(scope: Any, receive: Any, send: Any) -> None:
        if begun:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise ValueError("secret")

    async with served(crashing) as here:
        client = await here.connect()
        client.writer.write(GET)
        if begun:
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError, ValueError)):
                await client.answer()
        else:
            status, headers, body = await client.answer()
            assert (status, headers["connection"]) == (500, "close")
            assert b"secret" not in body


@pytest.mark.asyncio
async def test_a_client_that_leaves_is_a_disconnect_at_once() -> None:
    begun, seen = asyncio.Event(), asyncio.Event()

    async def waiting(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        begun.set()
        if (await receive())["type"] == "http.disconnect":
            seen.set()

    async with served(waiting) as here:
        client = await here.connect()
        client.writer.write(GET)
        await asyncio.wait_for(begun.wait(), 5)
        client.writer.close()
        await asyncio.wait_for(seen.wait(), 0.5)


@pytest.mark.asyncio
async def test_a_connection_without_a_request_is_closed_in_time_and_a_running_one_is_not() -> None:
    free = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await free.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async with served(slow, idle_s=0.1) as here:
        idle, half, busy = await here.connect(), await here.connect(), await here.connect()
        half.writer.write(b"GET / HTTP/1.1\r\nho")
        busy.writer.write(GET)
        assert await idle.closed()
        assert await half.closed()
        free.set()
        assert (await busy.answer())[2] == b"ok"


class Wire:
    """A transport that keeps what was done with it, in order."""

    def __init__(self) -> None:
        self.done: list[bytes] = []

    def get_extra_info(self, name: str) -> None: ...

    def is_closing(self) -> bool:
        return b"closed" in self.done

    def write(self, data: bytes) -> None:
        self.done.append(data)

    def close(self) -> None:
        self.done.append(b"closed")


@pytest.mark.asyncio
async def test_what_is_held_leaves_with_the_others_and_before_all_that_follows_on_its_connection() -> None:
    state = SimpleNamespace(connections=set(), tasks=set(), total_requests=0, default_headers=[])
    config = SimpleNamespace(loaded=True, loaded_app=echo, root_path="", timeout_keep_alive=60)
    made = [(Connection(config, state, {}), Wire()) for _ in range(4)]
    for connection, wire in made:
        connection.connection_made(wire)  # type: ignore[arg-type]
        connection.write_soon(b"held")
        assert wire.done == []
    (_, together), (writes, written), (closes, closed), (refuses, refused) = made
    writes.write(b"next")
    closes.close()
    refuses.data_received(b"no request\r\n\r\n")
    assert written.done == [b"held", b"next"]
    assert closed.done == [b"held", b"closed"]
    assert (refused.done[0], refused.done[1][:12], refused.done[2]) == (b"held", b"HTTP/1.1 400", b"closed")
    await asyncio.sleep(0)
    assert together.done == [b"held"]
    assert written.done == [b"held", b"next"], "written once"
    for connection, _ in made:
        connection.connection_lost(None)


@pytest.mark.asyncio
async def test_who_leaves_before_what_is_held_does_is_no_error() -> None:
    """Some loops raise where a transport that is closed is written to; and nobody is there to read it."""
    state = SimpleNamespace(connections=set(), tasks=set(), total_requests=0, default_headers=[])
    config = SimpleNamespace(loaded=True, loaded_app=echo, root_path="", timeout_keep_alive=60)
    connection, wire = Connection(config, state, {}), Wire()
    connection.connection_made(wire)  # type: ignore[arg-type]
    connection.write_soon(b"held")
    wire.close()
    await asyncio.sleep(0)
    assert wire.done == [b"closed"]
    connection.connection_lost(None)


@pytest.mark.asyncio
async def test_the_time_of_a_request_begins_with_it_and_not_with_the_silence_before() -> None:
    """The clock is what is tested: nothing but waiting can show it."""
    async with served(echo, idle_s=1.2) as here:
        client = await here.connect()
        await asyncio.sleep(0.9)
        client.writer.write(b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n")
        await asyncio.sleep(0.7)  # longer than the connection could be idle, counted from its beginning
        client.writer.write(b"ok")
        assert (await client.answer())[2] == b"POST /a  ok"


@pytest.mark.asyncio
async def test_a_slow_reader_holds_its_app_back_and_nobody_else() -> None:
    written = 0

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        nonlocal written
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while written < 64 << 20:
            await send({"type": "http.response.body", "body": bytes(1 << 16), "more_body": True})
            written += 1 << 16

    async with served(endless) as here:
        client = await here.connect()
        client.writer.write(GET)
        await client.reader.readexactly(1)
        last = -1
        while written != last:  # it stops once every buffer on the way is full
            last = written
            await asyncio.sleep(0.05)
        assert 0 < written < 64 << 20
        client.writer.transport.abort()


@pytest.mark.asyncio
async def test_draining_closes_idle_connections_and_lets_running_answers_end() -> None:
    free, begun = asyncio.Event(), asyncio.Event()

    async def held(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        begun.set()
        await free.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async with served(held) as here:
        idle, busy = await here.connect(), await here.connect()
        busy.writer.write(GET)
        await asyncio.wait_for(begun.wait(), 5)
        for connection in list(here.state.connections):
            connection.shutdown()
        assert await idle.closed()
        free.set()
        status, headers, body = await busy.answer()
        assert (status, headers["connection"], body) == (200, "close", b"ok")
        assert await busy.closed()
