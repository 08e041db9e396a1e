"""The card of an instance."""

import pytest

from proxy.ports import Instance
from proxy.wire import instances


def test_times_are_as_bytez_writes_them() -> None:
    assert instances.stamp(None) is None
    assert instances.stamp(1716854138.7386) == "2024-05-27T23:55:38.738Z"
    assert instances.stamp(0) == "1970-01-01T00:00:00.000Z"


@pytest.mark.parametrize(("state", "said"), [("ready", "RUNNING"), ("waiting", "QUEUED"), ("new", "NEW")])
def test_states(state: str, said: str) -> None:
    assert instances.card(Instance(model="m", state=state), model="m", upstream="u")["status"] == said


def test_what_is_unknown_is_null() -> None:
    card = instances.card(Instance(model="m", state="failed", reason="the file is truncated"), model="x", upstream="u")
    assert (card["model"], card["upstream"], card["message"]) == ("x", "u", "the file is truncated")
    nothing = ("concurrency", "expirationPeriodSeconds", "expirationPeriodMinutes", "expiresAt", "created")
    assert [card[key] for key in nothing] == [None] * 5
    forever = instances.card(Instance(model="m", state="ready", keep_s=-1), model="x", upstream="u")
    assert (forever["expirationPeriodSeconds"], forever["expirationPeriodMinutes"]) == (-1, None)
    assert "message" not in forever
