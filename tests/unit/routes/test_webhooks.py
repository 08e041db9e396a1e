"""POST /webhooks/{upstream}: handed to the adapter that takes reports, and to no other."""

from types import SimpleNamespace
from typing import Any

import pytest

from fakes.asked import inbound
from proxy.errors import BodyTooLarge, NotFound, PermissionDenied
from routes import webhooks


class Taking:
    """An adapter that takes reports."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.reports: list[tuple[dict[str, str], bytes]] = []

    async def report(self, headers: dict[str, str], body: bytes) -> None:
        self.reports.append((headers, body))
        if self.error:
            raise self.error


def asked(upstream: str, body: bytes = b'{"id": "p1"}') -> Any:
    made = inbound(body)
    made.scope["path_params"] = {"upstream": upstream}
    made.headers |= {b"webhook-id": b"msg_1", b"webhook-signature": b"v1,x", b"cookie": b"private"}
    return made


def desk(**adapters: Any) -> Any:
    return SimpleNamespace(max_body=1 << 20, house=SimpleNamespace(adapters=adapters))


@pytest.mark.asyncio
async def test_the_adapter_gets_the_bytes_and_what_signs_them() -> None:
    taking = Taking()
    answer = await webhooks.reported(asked("up"), desk(up=taking))
    assert (answer.status, answer.body) == (200, {"received": True})
    signed = {"webhook-id": "msg_1", "webhook-timestamp": "", "webhook-signature": "v1,x"}
    assert taking.reports == [(signed, b'{"id": "p1"}')]


@pytest.mark.asyncio
@pytest.mark.parametrize("upstream", ["nobody", "plain", ""])
async def test_nobody_there_takes_it(upstream: str) -> None:
    with pytest.raises(NotFound):
        await webhooks.reported(asked(upstream), desk(up=Taking(), plain=object()))


@pytest.mark.asyncio
async def test_a_refusal_is_told() -> None:
    with pytest.raises(PermissionDenied):
        await webhooks.reported(asked("up"), desk(up=Taking(PermissionDenied("not signed"))))


@pytest.mark.asyncio
async def test_a_stranger_cannot_send_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "MAX_REPORT", 16)
    taking = Taking()
    with pytest.raises(BodyTooLarge):
        await webhooks.reported(asked("up", b"x" * 17), desk(up=taking))
    assert taking.reports == []
