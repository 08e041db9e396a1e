"""The client leaves in every phase: the upstream's connection is closed within 100 ms, the books say so, nothing is left.

Raw sockets, so that leaving is one call and its time is known.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from fakes.evil import EvilThread
from fakes.gateway import Gateway, gateway, upstream
from proxy.call import Ending
from proxy.mock import Script, fault

LIMIT_S = 0.1
PHASES = {
    # phase: (fault, mark of the upstream's exchange to wait for, answer bytes to read first)
    "waiting, not streaming": ("stall_head", "arrived", 0, False),
    "waiting, streaming": ("stall_head", "arrived", 0, True),
    "before the first byte": ("stall_first", "answering", 0, True),
    "half-way through a stream": ("stall", "held", 200, True),
}


def request(stream: bool) -> bytes:
    body = msgspec.json.encode({"model": "m", "stream": stream, "messages": [{"role": "user", "content": "hello"}]})
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


@pytest.mark.parametrize("rude", [False, True], ids=["fin", "rst"])
@pytest.mark.parametrize("phase", PHASES)
def test_upstream_is_closed(gate: Gateway, mock: EvilThread, phase: str, rude: bool) -> None:
    name, mark, wanted, stream = PHASES[phase]
    cancelled = gate.app.stays.books.endings[Ending.CANCELLED]
    mock.script(Script(content="one two three four five six", faults=(fault(name),)))
    client = socket.create_connection(("127.0.0.1", gate.port))
    client.sendall(request(stream))
    exchange = mock.wait_for(1)
    mock.wait(exchange, mark)
    got = b""
    while len(got) < wanted:
        got += client.recv(65536)
    left = leave(client, rude)
    ended = mock.wait(exchange, "ended")
    assert exchange.end in ("client_closed", "reset")
    assert ended - left < LIMIT_S
    if wanted:
        assert gate.app.stays.books.endings[Ending.CANCELLED] == cancelled + 1
    wait_until(lambda: gate.app.stays.gate.running == 0)


def leave(client: socket.socket, rude: bool) -> float:
    """Close, with a reset if `rude`; the time just before."""
    if rude:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    at = time.monotonic()
    client.close()
    return at


def wait_until(true: object) -> None:
    """The gateway's own bookkeeping happens in another thread, a moment after the socket is closed."""
    deadline = time.monotonic() + 2
    while not true():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.002)


class Says:
    """An upstream that says the same bytes to every request, and then waits for the other side to end the connection."""

    def __init__(self, said: bytes) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.said = said
        self.answered: list[float] = []  # monotonic
        self.ended: list[float] = []
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):  # the listener is shut
            while True:
                with self.listener.accept()[0] as connection:
                    connection.recv(65536)
                    connection.sendall(self.said)
                    self.answered.append(time.monotonic())
                    with contextlib.suppress(ConnectionError):
                        connection.recv(1)
                    self.ended.append(time.monotonic())

    def stop(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(5)


@pytest.fixture
def says() -> Iterator[Callable[[bytes], Says]]:
    made: list[Says] = []

    def make(said: bytes) -> Says:
        made.append(Says(said))
        return made[-1]

    yield make
    for one in made:
        one.stop()


SYN_SENT, TIME_WAIT = 2, 6


def towards(port: int) -> list[tuple[int, int]]:
    """The kernel's open sockets whose peer is this port of 127.0.0.1: TCP state, and bytes come in that nobody has read.

    Without those in TIME_WAIT: somebody else may have used the port a minute ago.
    """
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    peer = f"0100007F:{port:04X}"
    found = [(int(row[3], 16), int(row[4].partition(":")[2], 16)) for row in rows if row[2] == peer]
    return [row for row in found if row[0] != TIME_WAIT]


@pytest.mark.parametrize("rude", [False, True], ids=["fin", "rst"])
def test_in_the_middle_of_a_whole_body(says: Callable[[bytes], Says], rude: bool) -> None:
    """The gateway has read half an unstreamed answer; the client has nothing of it."""
    half = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{" + b" " * 499
    source = says(half)
    with gateway(upstream(f"http://127.0.0.1:{source.port}/v1")) as gate:
        client = socket.create_connection(("127.0.0.1", gate.port))
        client.sendall(request(stream=False))
        wait_until(lambda: source.answered)
        wait_until(lambda: [unread for _, unread in towards(source.port)] == [0])
        left = leave(client, rude)
        wait_until(lambda: source.ended)
        assert 0 < source.ended[0] - left < LIMIT_S
        wait_until(lambda: gate.app.stays.gate.running == 0)
    assert len(source.answered) == 1


@pytest.mark.parametrize("rude", [False, True], ids=["fin", "rst"])
def test_between_retries(says: Callable[[bytes], Says], rude: bool) -> None:
    """An attempt failed and the next is a second away: the call ends at once, and there is no next."""
    busy = b"HTTP/1.1 503 busy\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}"
    source = says(busy)
    with gateway(upstream(f"http://127.0.0.1:{source.port}/v1") + "\n[routing]\nretries = 2\n") as gate:
        client = socket.create_connection(("127.0.0.1", gate.port))
        client.sendall(request(stream=True))
        wait_until(lambda: source.ended)
        assert gate.app.stays.gate.running == 1
        left = leave(client, rude)
        wait_until(lambda: gate.app.stays.gate.running == 0)
        assert time.monotonic() - left < LIMIT_S
        with pytest.raises(AssertionError):  # two seconds are enough for the attempt that must not come
            wait_until(lambda: len(source.answered) > 1)
    assert len(source.answered) == 1


@pytest.mark.parametrize("rude", [False, True], ids=["fin", "rst"])
def test_while_connecting(rude: bool) -> None:
    """An upstream whose queue of connections is full does not answer the first packet; nobody waits for it any longer."""
    with socket.socket() as full, contextlib.ExitStack() as queue:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        while not any(state == SYN_SENT for state, _ in towards(port)):
            filler = queue.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        connecting = len(towards(port))
        with gateway(upstream(f"http://127.0.0.1:{port}/v1")) as gate:
            client = socket.create_connection(("127.0.0.1", gate.port))
            client.sendall(request(stream=True))
            wait_until(lambda: len(towards(port)) == connecting + 1)
            left = leave(client, rude)
            wait_until(lambda: gate.app.stays.gate.running == 0 and len(towards(port)) == connecting)
            assert time.monotonic() - left < LIMIT_S


def test_leaving_after_done_is_no_cancel(gate: Gateway, mock: EvilThread) -> None:
    """openai-python closes its socket right behind `[DONE]`: that is a finished call."""
    before = dict(gate.app.stays.books.endings)
    client = socket.create_connection(("127.0.0.1", gate.port))
    client.sendall(request(stream=True))
    got = b""
    while b"data: [DONE]\n\n" not in got:
        got += client.recv(65536)
    client.close()
    mock.wait(mock.exchanges[-1], "ended")
    after = gate.app.stays.books.endings
    assert after[Ending.FINISHED] == before[Ending.FINISHED] + 1
    assert after[Ending.CANCELLED] == before[Ending.CANCELLED]


class Fountain:
    """An upstream that streams as fast as it is read, for ever, and counts what it got rid of."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/v1"
        self.sent = 0
        self.stalled = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        connection, _ = self.listener.accept()
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        head = b'{"id":"c","object":"chat.completion.chunk","created":1,"model":"u","choices":[{"index":0,"delta":'
        event = b"data: " + head + b'{"content":"' + b"x" * 800 + b'"},"finish_reason":null}]}\n\n'
        block = event * 64
        framed = f"{len(block):x}\r\n".encode() + block + b"\r\n"
        connection.settimeout(0.5)
        try:
            while True:
                connection.sendall(framed)
                self.sent += len(framed)
        except TimeoutError:
            self.stalled.set()
        except OSError:
            pass
        finally:
            connection.close()


def test_a_slow_reader_holds_the_upstream_back() -> None:
    """A client that stops reading stops the upstream too: nobody in between takes it all into memory."""
    fountain = Fountain()
    with gateway(upstream(fountain.url)) as gate:
        client = socket.create_connection(("127.0.0.1", gate.port))
        client.sendall(request(stream=True))
        assert client.recv(100)
        assert fountain.stalled.wait(20)
        assert fountain.sent < 64 << 20  # what four socket buffers hold, and not more as time goes by
        client.close()
        wait_until(lambda: gate.app.stays.gate.running == 0)
    fountain.listener.close()
