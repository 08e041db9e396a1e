"""Sends frames from any thread without making the engine wait for the gateway.

Owns the sending side of the socket. Refuses to know what it sends. Invariants: frames leave whole and in order; the
engine thread blocks only once `BACKLOG` bytes are waiting, that is, when the gateway has not read for a long time.
"""

import os
import socket
import threading
from collections import deque

from adapters.llama.frames import ToGateway, encode

BACKLOG = 8 << 20
_SEND_BUFFER = 4 << 20


class Outbox:
    """`send` is thread-safe; `drain` waits until everything is out."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        self._sock = sock
        self._lock = threading.Condition()
        self._queue: deque[bytes] = deque()
        self._size = 0
        threading.Thread(target=self._write, name="writer", daemon=True).start()

    def send(self, frame: ToGateway) -> None:
        data = encode(frame)
        with self._lock:
            while self._size > BACKLOG:
                self._lock.wait()
            if not self._queue:
                sent = self._try(data)
                if sent == len(data):
                    return
                data = data[sent:]
            self._queue.append(data)
            self._size += len(data)
            self._lock.notify_all()

    def _try(self, data: bytes) -> int:
        try:
            return self._sock.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return 0
        except OSError:
            os._exit(0)  # nobody is left to read

    def _write(self) -> None:
        while True:
            with self._lock:
                while not self._queue:
                    self._lock.wait()
                data = self._queue[0]
            try:
                self._sock.sendall(data, socket.MSG_NOSIGNAL)
            except OSError:
                os._exit(0)
            with self._lock:
                self._queue.popleft()
                self._size -= len(data)
                self._lock.notify_all()

    def drain(self, timeout_s: float = 5.0) -> None:
        with self._lock:
            self._lock.wait_for(lambda: not self._queue, timeout_s)
