"""Frames leave whole and in order, also when nobody reads for a while."""

import socket
import threading
import time

import pytest

from adapters.llama import frames, outbox
from adapters.llama.outbox import BACKLOG, MOST, SHORT_S, Outbox


def _receive(sock: socket.socket, count: int, size: int = 1 << 16) -> list[frames.ToGateway]:
    splitter = frames.FrameSplitter(frames.gateway_decoder)
    got: list[frames.ToGateway] = []
    while len(got) < count:
        got += splitter.feed(sock.recv(size))
    return got


def test_order_and_wholeness_under_a_slow_reader() -> None:
    ours, theirs = socket.socketpair()
    box = Outbox(ours)
    sent = [frames.Reply(number, blob=bytes(number % 5000)) for number in range(800)]

    def send() -> None:
        for frame in sent:
            box.send(frame)

    sender = threading.Thread(target=send)
    sender.start()
    assert _receive(theirs, len(sent), 777) == sent
    sender.join()
    box.drain()
    assert not box._queue
    assert box._size == 0
    theirs.close()


def test_send_blocks_only_behind_a_long_backlog() -> None:
    ours, theirs = socket.socketpair()
    box = Outbox(ours)
    large = frames.Reply(1, blob=bytes(1 << 20))
    for _ in range(7):
        box.send(large)  # nobody reads, and nobody waits
    stuck = threading.Thread(target=lambda: [box.send(large) for _ in range(40)])
    stuck.start()
    stuck.join(0.3)
    assert stuck.is_alive()
    assert BACKLOG < box._size <= BACKLOG + (1 << 20) + 100
    assert len(_receive(theirs, 47, 1 << 20)) == 47
    stuck.join()
    box.drain()
    theirs.close()


def test_what_follows_and_what_is_sent_keep_their_order() -> None:
    ours, theirs = socket.socketpair()
    box = Outbox(ours)
    sent = [frames.Reply(number, blob=bytes(number % 3000)) for number in range(3000)]

    def say() -> None:
        for frame in sent:
            (box.send if frame.id % 7 == 0 else box.follow)(frame)
            if frame.id % 40 == 0:
                time.sleep(frame.id % 3 * 0.7e-3)  # the writer looks in time, too early, or must be woken

    sender = threading.Thread(target=say)
    sender.start()
    assert _receive(theirs, len(sent), 777) == sent
    sender.join()
    box.drain()
    assert not box._queue
    assert box._size == 0
    theirs.close()


def test_a_frame_that_follows_is_sent_though_nothing_comes_after_it() -> None:
    ours, theirs = socket.socketpair()
    box = Outbox(ours)
    theirs.settimeout(5)
    for pause in (0.0, SHORT_S / 2, SHORT_S / 4, 0.0, 5 * SHORT_S, SHORT_S / 2):
        time.sleep(pause)
        box.follow(frames.Pong(pause, 0.0, 0, 0.0))
        assert _receive(theirs, 1) == [frames.Pong(pause, 0.0, 0, 0.0)]
    theirs.close()


def test_what_follows_waits_behind_a_long_queue() -> None:
    ours, theirs = socket.socketpair()
    box = Outbox(ours)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
    large, small = frames.Reply(1, blob=bytes(1 << 20)), frames.Pong(0.0, 0.0, 0, 0.0)
    box.send(large)  # more than the socket takes
    stuck = threading.Thread(target=lambda: [box.follow(small) for _ in range(2 * MOST)])
    stuck.start()
    stuck.join(0.3)
    assert stuck.is_alive()
    assert MOST < len(box._queue) <= MOST + 1
    assert _receive(theirs, 1 + 2 * MOST)[1:] == [small] * (2 * MOST)
    stuck.join()
    box.drain()
    theirs.close()


def test_a_frame_that_cannot_be_encoded_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.setattr(outbox.os, "_exit", leave)
    monkeypatch.setattr(frames, "LIMIT", 100)
    ours, theirs = socket.socketpair()
    with pytest.raises(SystemExit, match="70"):
        Outbox(ours)._send_all([frames.Reply(1, blob=bytes(1000))])
    theirs.close()
