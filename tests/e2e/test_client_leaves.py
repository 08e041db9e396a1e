"""The client leaves in every phase: the upstream's connection is closed within 100 ms, the books say so, nothing is left.

Raw sockets, so that leaving is one call and its time is known.
"""

import socket
import threading
import time

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
    if rude:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    left = time.monotonic()
    client.close()
    ended = mock.wait(exchange, "ended")
    assert exchange.end in ("client_closed", "reset")
    assert ended - left < LIMIT_S
    if wanted:
        assert gate.app.stays.books.endings[Ending.CANCELLED] == cancelled + 1
    wait_until(lambda: gate.app.stays.gate.running == 0)


def wait_until(true: object) -> None:
    """The gateway's own bookkeeping happens in another thread, a moment after the socket is closed."""
    deadline = time.monotonic() + 2
    while not true():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.002)


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
