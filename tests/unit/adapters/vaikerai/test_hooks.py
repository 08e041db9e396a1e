"""Signed reports: which are genuine. The vectors are the reference implementation's and our own notes'."""

import json
from typing import Any

import pytest

from adapters.vaikerai.hooks import ASK_AGAIN_S, Hooks, key_of, signed_by
from fakes.doubles.callbacks import signature
from proxy.errors import Fault, PermissionDenied, Unavailable, UpstreamError

SECRET = "whsec_plJ3nmyCDGBKInavdOK15jsl"
NOW = 1_731_705_121


class Clock:
    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


class Secrets:
    """What gives the secret; counts how often it is asked."""

    def __init__(self, secret: str | Exception = SECRET) -> None:
        self.secret = secret
        self.asked = 0

    async def __call__(self) -> str:
        self.asked += 1
        if isinstance(self.secret, Exception):
            raise self.secret
        return self.secret


def report(identity: str = "msg_1", at: int = NOW, body: bytes = b'{"id": "p1"}', secret: str = SECRET) -> Any:
    signed = {"webhook-id": identity, "webhook-timestamp": str(at)}
    return signed | {"webhook-signature": signature(secret, identity, at, body)}, body


@pytest.mark.parametrize(
    ("secret", "identity", "at", "body", "signed"),
    [
        (
            SECRET,
            "msg_loFOjxBNrRLzqYUf",
            "1731705121",
            b'{"event_type":"ping","data":{"success":true}}',
            "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=",
        ),
        (
            "whsec_YWRhcHRlcnMtdGVzdC1zZWNyZXQtMDEyMzQ1Njc4OQ==",
            "evt_1",
            "1700000000",
            b'{"id":"p1","status":"succeeded"}',
            "v1,dv/1cTwIwdeDcMEE3MYu3fDAg6ZRxItjYwlmGF1q4zs=",
        ),
    ],
)
def test_known_signatures(secret: str, identity: str, at: str, body: bytes, signed: str) -> None:
    key = key_of(secret)
    assert signed_by(key, identity, at, body, signed)
    assert signed_by(key, identity, at, body, f"v1,AAAA v2,BBBB {signed}"), "one of several keys"
    for wrong in ("", signed.removeprefix("v1,"), signed.replace("v1", "v2"), signed[:-2] + "A=", "v1,", "v1,ü"):
        assert not signed_by(key, identity, at, body, wrong)
    assert not signed_by(key, identity + "0", at, body, signed)
    assert not signed_by(key, identity, at + "0", body, signed)
    assert not signed_by(key, identity, at, body + b" ", signed)


@pytest.mark.parametrize("secret", ["", "whsec_", "plJ3nmyCDGBKInavdOK15jsl", "whsec_***"])
def test_what_is_no_secret(secret: str) -> None:
    with pytest.raises(ValueError, match="whsec_"):
        key_of(secret)


@pytest.mark.asyncio
async def test_a_genuine_report_is_taken_once() -> None:
    clock, secrets = Clock(), Secrets()
    hooks = Hooks(secrets, tolerance_s=300, now=clock)
    assert await hooks.genuine(*report()) == "p1"
    assert await hooks.genuine(*report()) is None, "sent again"
    assert await hooks.genuine(*report("msg_2", body=b"[]")) is None, "about nothing"
    clock.now += 10_000
    assert await hooks.genuine(*report("msg_3", at=int(clock.now))) == "p1"
    assert len(hooks._seen) == 1, "what can no longer be repeated is forgotten"
    assert secrets.asked == 1


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": ""},
        {"webhook-id": "msg_other"},
        {"webhook-timestamp": ""},
        {"webhook-timestamp": "-1"},
        {"webhook-timestamp": "²"},
        {"webhook-timestamp": str(NOW - 301)},
        {"webhook-timestamp": str(NOW + 301)},
        {"webhook-timestamp": "9" * 40},
        {"webhook-signature": ""},
        {"webhook-signature": "v1,AAAA"},
    ],
)
async def test_what_is_not_signed_is_refused(change: dict[str, str]) -> None:
    headers, body = report()
    hooks = Hooks(Secrets(), tolerance_s=300, now=Clock())
    with pytest.raises(PermissionDenied):
        await hooks.genuine(headers | change, body)
    assert await hooks.genuine(headers, body) == "p1", "a forgery does not use up the id of the real one"


@pytest.mark.asyncio
@pytest.mark.parametrize("age", [-299, 299])
async def test_clocks_may_differ_a_little(age: int) -> None:
    assert await Hooks(Secrets(), tolerance_s=300, now=Clock()).genuine(*report(at=NOW + age)) == "p1"


@pytest.mark.asyncio
async def test_signed_by_somebody_else_or_for_another_body() -> None:
    hooks = Hooks(Secrets(), tolerance_s=300, now=Clock())
    with pytest.raises(PermissionDenied, match="not signed"):
        await hooks.genuine(*report(secret="whsec_c29tZWJvZHkgZWxzZQ=="))
    headers, _ = report()
    with pytest.raises(PermissionDenied, match="not signed"):
        await hooks.genuine(headers, json.dumps({"id": "p2"}).encode())


@pytest.mark.asyncio
@pytest.mark.parametrize("problem", [UpstreamError(Fault.CONNECT, "no"), "None"])
async def test_strangers_cannot_make_us_ask_for_the_secret_all_the_time(problem: Any) -> None:
    clock, secrets = Clock(), Secrets(problem)
    hooks = Hooks(secrets, tolerance_s=300, now=clock)
    for _ in range(5):
        with pytest.raises(Unavailable):
            await hooks.genuine(*report())
    assert secrets.asked == 1
    secrets.secret = SECRET
    clock.now += ASK_AGAIN_S
    assert await hooks.genuine(*report()) == "p1"
