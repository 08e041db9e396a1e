"""One client connection: its bytes → Turns, one after the other, and uvicorn's server told of each.

uvicorn owns the process, the sockets and the shutdown; this is the protocol it is given (`http=Connection`). Owns the
parser, the limits on a request's head, keep-alive, pipelining and the two directions of back-pressure. Refuses to know
routes and what an app answers. Invariants: one turn runs at a time, answers leave in the order of their requests; what cannot
be parsed is answered 400 and closed; a connection without a request, or with one that stops coming, is closed in time.
"""

import asyncio
from collections import deque
from typing import Any, cast
from urllib.parse import unquote

import httptools

from proxy import log
from proxy.cork import cork_of
from proxy.errors import BadRequest, HeadTooLarge, Internal, TraghettoError
from routes._errors import dialect_of, rendered
from routes._http.turn import Turn
from routes._outlet import OUTLET

MAX_HEAD = 64 * 1024  # bytes of a request's line and headers
MAX_HEADERS = 256
_log = log.get("routes")


class Connection(asyncio.Protocol):
    """What uvicorn makes for each socket."""

    __slots__ = (
        "_active",
        "_app",
        "_client",
        "_cork",
        "_dated",
        "_expects",
        "_head_size",
        "_headers",
        "_held",
        "_idle_s",
        "_incoming",
        "_parser",
        "_paused_by",
        "_queue",
        "_refused",
        "_root",
        "_scheme",
        "_seen",
        "_server",
        "_since",
        "_state",
        "_tasks",
        "_timer",
        "_url",
        "_waiters",
        "date",
        "full",
        "loop",
        "transport",
    )

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any], _loop: Any = None) -> None:
        if not config.loaded:
            config.load()
        self.loop: asyncio.AbstractEventLoop = _loop or asyncio.get_running_loop()
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)  # from connection_made on
        self.full = False  # the client reads more slowly than we write
        self.date = b""  # the server's own headers, as they are written
        self._app = config.loaded_app
        self._root = config.root_path
        self._idle_s = config.timeout_keep_alive
        self._state = server_state
        self._tasks: set[asyncio.Task[None]] = server_state.tasks
        self._seen: Any = None
        self._parser: Any = None
        self._active: Turn | None = None  # whose answer is being made
        self._incoming: Turn | None = None  # whose request is still coming
        self._queue: deque[Turn] = deque()  # pipelined: their turn comes
        self._paused_by: Turn | None = None
        self._refused: TraghettoError | None = None
        self._waiters: list[asyncio.Future[None]] = []
        self._cork = cork_of(self.loop)
        self._held = b""  # written at the end of this turn of the loop
        self._timer: asyncio.TimerHandle | None = None
        self._since = 0.0
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_size = 0
        self._expects = False
        self._scheme = "http"
        self._server: tuple[str, int] | None = None
        self._client: tuple[str, int] | None = None

    # ── the socket ───────────────────────────────────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._scheme = "https" if transport.get_extra_info("sslcontext") else "http"
        self._server = _address(transport.get_extra_info("sockname"))
        self._client = _address(transport.get_extra_info("peername"))
        self._parser = httptools.HttpRequestParser(self)
        self._state.connections.add(self)
        self._since = self.loop.time()
        self._timer = self.loop.call_later(self._idle_s, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._state.connections.discard(self)
        self._parser = None
        if self._timer is not None:
            self._timer.cancel()
        self.resume_writing()
        for turn in (self._active, *self._queue):
            if turn is not None:
                turn.leave()
        self._queue.clear()

    def eof_received(self) -> None:
        """A client that will say no more is taken to have left, as every HTTP client that is done means it."""

    def data_received(self, data: bytes) -> None:
        parser = self._parser
        if parser is None:
            return
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            if self._active is not None:  # answered as an ordinary request; what follows would be another protocol
                self._active.keep_alive = False
            self._parser = None
        except httptools.HttpParserError:
            self._refuse(self._refused or BadRequest("This is not an HTTP/1.1 request."))
            return
        incoming = self._incoming
        if incoming is not None and incoming.task is None and incoming not in self._queue:
            self._ready(incoming)  # its body comes later

    def pause_writing(self) -> None:
        self.full = True
        if self._active is not None:
            self._active.slow(True)

    def resume_writing(self) -> None:
        self.full = False
        if self._active is not None:
            self._active.slow(False)
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def drained(self) -> None:
        """Until the client has read enough, or is gone."""
        while self.full and not self.transport.is_closing():
            waiter = self.loop.create_future()
            self._waiters.append(waiter)
            await waiter

    def write(self, data: bytes) -> None:
        """Behind what is held."""
        if self._held:
            self._leave()
        self.transport.write(data)

    def write_soon(self, data: bytes) -> None:
        """Together with what others write in this turn of the loop."""
        if not self._held:
            self._cork.add(self._leave)
        self._held += data

    def _leave(self) -> None:
        held, self._held = self._held, b""
        if held and not self.transport.is_closing():  # whoever left in this turn of the loop hears nothing more
            self.transport.write(held)

    def close(self) -> None:
        """Write what is held or buffered, and close."""
        if not self.transport.is_closing():
            self._leave()
            self.transport.close()

    def shutdown(self) -> None:
        """uvicorn drains: what runs may end, nothing new begins."""
        if self._active is None:
            self.close()
        else:
            self._active.keep_alive = False

    def pause(self, turn: Turn) -> None:
        """`turn` has enough for now."""
        if self._paused_by is None and not self.transport.is_closing():
            self._paused_by = turn
            self.transport.pause_reading()

    def resume(self, turn: Turn) -> None:
        if self._paused_by is turn:
            self._paused_by = None
            if not self.transport.is_closing():
                self.transport.resume_reading()

    def _look(self) -> None:
        """Close a connection on which nothing has come for as long as we keep idle ones."""
        waits = self._active is None or (self._incoming is self._active and self._paused_by is None)
        left = self._since + self._idle_s - self.loop.time()
        if waits and left <= 0:
            self.close()
            return
        self._timer = self.loop.call_later(max(left, 1.0) if waits else self._idle_s, self._look)

    # ── the parser's side ────────────────────────────────────────────────────────────────────────────────────────────

    def on_message_begin(self) -> None:
        self._since = self.loop.time()  # a request has its own time to come, whatever silence went before it
        self._url = b""
        self._headers = []
        self._head_size = 0
        self._expects = False

    def on_url(self, url: bytes) -> None:
        self._url += url
        if len(self._url) > MAX_HEAD:
            self._too_large()

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self._expects = True
        self._headers.append((name, value))
        self._head_size += len(name) + len(value) + 4
        if self._head_size > MAX_HEAD or len(self._headers) > MAX_HEADERS:
            self._too_large()

    def _too_large(self) -> None:
        self._refused = HeadTooLarge(f"The request's head has more than {MAX_HEAD} bytes or {MAX_HEADERS} headers.")
        raise ValueError(self._refused.message)

    def on_headers_complete(self) -> None:
        parser, url = self._parser, self._url
        version = parser.get_http_version()
        if not url.startswith(b"/"):  # in absolute form, as proxies send it
            parsed = httptools.parse_url(url)
            url = (parsed.path or b"/") + (b"?" + parsed.query if parsed.query else b"")
        raw_path, _, query = url.partition(b"?")
        path = raw_path.decode("latin-1")
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": version,
            "server": self._server,
            "client": self._client,
            "scheme": self._scheme,
            "root_path": self._root,
            "method": parser.get_method().decode("ascii"),
            "path": unquote(path) if "%" in path else path,
            "raw_path": raw_path,
            "query_string": query.partition(b"#")[0],
            "headers": self._headers,
            "state": {},
        }
        keep_alive = version != "1.0" and parser.should_keep_alive()
        turn = Turn(self, scope, keep_alive=keep_alive, expects=self._expects)
        scope["extensions"] = {OUTLET: turn}
        self._incoming = turn

    def on_body(self, data: bytes) -> None:
        if self._incoming is not None:
            self._since = self.loop.time()
            self._incoming.feed(data)

    def on_message_complete(self) -> None:
        turn, self._incoming = self._incoming, None
        if turn is None:
            return
        turn.fed()
        if turn.task is None and turn not in self._queue:
            self._ready(turn)

    # ── turns ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _ready(self, turn: Turn) -> None:
        """A request's head is here: its turn begins, or waits until those before it are answered."""
        if self._active is not None:
            self._queue.append(turn)
            self.pause(turn)
            return
        self._begin(turn)

    def _begin(self, turn: Turn) -> None:
        self._active = turn
        headers = self._state.default_headers
        if headers is not self._seen:  # a new date, once a second
            self._seen = headers
            self.date = b"".join([b"%b: %b\r\n" % header for header in headers])
        turn.task = task = self.loop.create_task(self._run(turn))
        self._tasks.add(task)

    async def _run(self, turn: Turn) -> None:
        try:
            await self._app(turn.scope, turn.receive, turn.send)
            if not turn.complete and not turn.lost:
                _log.error("an app returned without an answer", path=turn.scope["path"])
                await self._give_up(turn)
        except asyncio.CancelledError:
            self.close()
            raise
        except Exception as error:  # noqa: BLE001 - the door of the process: nothing may pass it
            if not turn.lost:
                _log.error("an answer broke off", path=turn.scope["path"], exc_info=error)
                await self._give_up(turn)
        finally:
            self._tasks.discard(cast("asyncio.Task[None]", turn.task))
            turn.scope = _ENDED  # the scope knows its turn: a circle, which would wait for the collector

    async def _give_up(self, turn: Turn) -> None:
        """Only breaking the connection tells the truth about an answer that has begun."""
        if turn.status:
            self.transport.abort()
            return
        path = turn.scope["path"]
        status, headers, body = rendered(Internal("An internal error; the log has it."), dialect_of(path), "")
        pairs = [(name.encode(), value.encode()) for name, value in headers]
        turn.keep_alive = False
        await turn.whole(status, [*pairs, (b"content-type", b"application/json")], body)

    def done(self, turn: Turn) -> None:
        """A turn's answer is written."""
        self._state.total_requests += 1
        self._active = None
        if not turn.keep_alive:
            self.close()
            return
        self._since = self.loop.time()
        if self._paused_by is not None:
            self.resume(self._paused_by)
        if self._queue and not self.transport.is_closing():
            self._begin(self._queue.popleft())
            if self._queue:
                self.pause(self._queue[0])

    def _refuse(self, error: TraghettoError) -> None:
        """Say what is wrong with what is no request, and close. Behind a running answer nothing is said."""
        self._parser = None
        if self._active is None:
            status, _, body = rendered(error, dialect_of(self._url.decode("latin-1")), "")
            head = "HTTP/1.1 {} {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n"
            said = "Bad Request" if status == 400 else "Request Header Fields Too Large"
            self.write(head.format(status, said, len(body)).encode() + body)
        self.close()


_ENDED: dict[str, Any] = {}
_ASGI = {"version": "3.0", "spec_version": "2.3"}


def _address(found: Any) -> tuple[str, int] | None:
    """An (address, port); None for a unix socket."""
    return (str(found[0]), int(found[1])) if isinstance(found, tuple) and len(found) >= 2 else None
