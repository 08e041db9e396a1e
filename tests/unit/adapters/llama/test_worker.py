"""What passes between the threads of the child."""

import threading

from adapters.llama.frames import Cancel
from adapters.llama.worker import Inbox


def test_a_call_cancelled_while_being_prepared_never_arrives() -> None:
    inbox = Inbox()
    inbox.begin(1)
    inbox.begin(2)
    inbox.cancel(Cancel(1))
    assert inbox.is_dropped(1)
    assert not inbox.prepared(1, "one")
    assert inbox.prepared(2, "two")
    assert inbox.take(0) == ["two"]
    inbox.cancel(Cancel(2))
    assert inbox.take(0) == [Cancel(2)]
    assert not inbox.is_dropped(1)


def test_an_answer_needs_no_engine_thread() -> None:
    inbox = Inbox()
    inbox.begin(1)
    assert inbox.prepared(1, None)
    assert inbox.take(0) == []


def test_waiting_ends_with_the_first_item() -> None:
    inbox = Inbox()
    threading.Timer(0.05, inbox.put, ("x",)).start()
    assert inbox.take(None) == ["x"]
    assert inbox.take(0.01) == []
