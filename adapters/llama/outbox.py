"""Sends frames from any thread without making the engine wait for the gateway.

Owns the sending side of the socket. Refuses to know what it sends. Invariants: frames leave whole and in order; the
engine thread blocks only once `BACKLOG` bytes or `MOST` frames are waiting, that is, when the gateway has not read for
a long time; what `follow` was given is on its way within `SHORT_S`.
"""

import os
import socket
import threading
import time
import traceback
from collections import deque

from adapters.llama.frames import FrameError, ToGateway, encode

BACKLOG = 8 << 20
MOST = 1024
SHORT_S = 0.002  # a step that is shorter makes a frame that may `follow`
_SEND_BUFFER = 4 << 20
_BEHIND_S = 30e-6  # how long after it is expected a frame is looked for: the engine thread is in llama.cpp again
_MISSES = 3  # looks in vain, until the writer sleeps and must be woken


class Outbox:
    """`send` and `follow` are thread-safe; `drain` waits until everything is out."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        self._sock = sock
        self._lock = threading.Condition()
        self._queue: deque[bytes | ToGateway] = deque()
        self._size = 0  # bytes in the queue, as far as they are encoded
        self._awake = False  # the writer will look into the queue unasked
        self._followed = 0.0  # when `follow` was called last
        self._interval = 0.0  # how long that was after the time before; 0: too long to wait for the next
        threading.Thread(target=self._write, name="writer", daemon=True).start()

    def send(self, frame: ToGateway) -> None:
        data = encode(frame)
        with self._lock:
            while self._full:
                self._lock.wait()
            if not self._queue:
                sent = self._try(data)
                if sent == len(data):
                    return
                data = data[sent:]
            self._queue.append(data)
            self._size += len(data)
            self._lock.notify_all()

    def follow(self, frame: ToGateway) -> None:
        """As `send`, for frames that come every `SHORT_S` or more often: the writer encodes and sends them.

        To wake the gateway costs who does it 40 µs on a virtual machine (so would waking a thread), as much as sampling
        for eight rows. So nobody is woken here: in a row of such frames the writer sleeps until the next should be there.
        """
        now = time.monotonic()
        with self._lock:
            while self._full:
                self._lock.wait()
            self._queue.append(frame)
            since = now - self._followed
            self._interval, self._followed = since if since < SHORT_S else 0.0, now
            if not self._awake:
                self._lock.notify_all()

    @property
    def _full(self) -> bool:
        return self._size > BACKLOG or len(self._queue) > MOST

    def _try(self, data: bytes) -> int:
        try:
            return self._sock.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return 0
        except OSError:
            os._exit(0)  # nobody is left to read

    def _write(self) -> None:
        misses = 0
        while True:
            with self._lock:
                while not self._queue and misses >= _MISSES:
                    self._awake = False
                    self._lock.wait()
                self._awake = True
                frames = list(self._queue)
            if frames:
                self._send_all(frames)
            misses = 0 if frames else misses + 1
            expected = self._followed + self._interval * (1 + misses / 2)
            time.sleep(max(expected + _BEHIND_S - time.monotonic(), _BEHIND_S))

    def _send_all(self, frames: list[bytes | ToGateway]) -> None:
        """The first ones of the queue. They leave it when they are out: what is sent meanwhile goes behind them."""
        try:
            self._sock.sendall(b"".join(f if isinstance(f, bytes) else encode(f) for f in frames), socket.MSG_NOSIGNAL)
        except OSError:
            os._exit(0)
        except FrameError:
            traceback.print_exc()
            os._exit(70)  # a call would wait for ever for what cannot be said
        with self._lock:
            for _ in frames:
                self._queue.popleft()
            self._size -= sum(len(frame) for frame in frames if isinstance(frame, bytes))
            self._lock.notify_all()

    def drain(self, timeout_s: float = 5.0) -> None:
        with self._lock:
            self._lock.wait_for(lambda: not self._queue, timeout_s)
