"""Frames leave whole and in order, also when nobody reads for a while."""

import socket
import threading

from adapters.llama import frames
from adapters.llama.outbox import BACKLOG, Outbox


def test_order_and_wholeness_under_a_slow_reader() -> None:
    ours, theirs = socket.socketpair()
    outbox = Outbox(ours)
    sent = [frames.Reply(number, blob=bytes(number % 5000)) for number in range(800)]

    def send() -> None:
        for frame in sent:
            outbox.send(frame)

    sender = threading.Thread(target=send)
    sender.start()
    splitter = frames.FrameSplitter(frames.gateway_decoder)
    got: list[frames.ToGateway] = []
    while len(got) < len(sent):
        got += splitter.feed(theirs.recv(777))
    sender.join()
    assert got == sent
    outbox.drain()
    assert not outbox._queue
    assert outbox._size == 0
    theirs.close()


def test_send_blocks_only_behind_a_long_backlog() -> None:
    ours, theirs = socket.socketpair()
    outbox = Outbox(ours)
    large = frames.Reply(1, blob=bytes(1 << 20))
    for _ in range(7):
        outbox.send(large)  # nobody reads, and nobody waits
    stuck = threading.Thread(target=lambda: [outbox.send(large) for _ in range(40)])
    stuck.start()
    stuck.join(0.3)
    assert stuck.is_alive()
    assert BACKLOG < outbox._size <= BACKLOG + (1 << 20) + 100
    splitter = frames.FrameSplitter(frames.gateway_decoder)
    count = 0
    while count < 47:
        count += len(splitter.feed(theirs.recv(1 << 20)))
    stuck.join()
    outbox.drain()
    theirs.close()
