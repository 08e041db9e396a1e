"""Headers about limits, in both dialects."""

import pytest

from proxy.call import Dialect
from proxy.limits.memory import MemoryStore
from proxy.limits.reference import Bucket, Measure
from proxy.limits.said import duration, grant_headers, refusal_headers
from proxy.limits.store import Grant, Refusal

NOW = 1_700_000_000_000_000


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (0, "0s"), (1, "1ms"), (12_000, "12ms"), (12_001, "13ms"), (1_000_000, "1s"), (1_500_000, "1.5s"),
        (360_000_000, "6m0s"), (61_050_000, "1m1.05s"), (3_600_000_000, "1h0m0s"), (86_399_000_000, "23h59m59s"),
    ],
)  # fmt: skip
def test_durations(us: int, text: str) -> None:
    assert duration(us) == text


def asked(*asks: tuple[Bucket, int]) -> Grant | Refusal:
    return MemoryStore(clock=lambda: 5).reserve_now(asks)


def reserved(*asks: tuple[Bucket, int]) -> Grant:
    found = asked(*asks)
    assert isinstance(found, Grant)
    return found


def test_in_both_dialects() -> None:
    rpm, tpm = Bucket("k", "m", Measure.RPM, 60), Bucket("k", "m", Measure.TPM, 6000)
    granted = reserved((rpm, 1), (tpm, 600))
    assert dict(grant_headers(granted, Dialect.OPENAI, NOW)) == {
        "x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "59", "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-limit-tokens": "6000", "x-ratelimit-remaining-tokens": "5400", "x-ratelimit-reset-tokens": "6s",
    }  # fmt: skip
    venice = dict(grant_headers(granted, Dialect.VENICE, NOW, {"usd": 1.5, "diem": 2.0}))
    assert venice["x-ratelimit-reset-requests"] == "1700000001", "Unix time"
    assert venice["x-ratelimit-reset-tokens"] == "6", "seconds"
    assert (venice["x-venice-balance-usd"], venice["x-venice-balance-diem"]) == ("1.5", "2")


def test_the_tighter_of_two_kinds_of_requests() -> None:
    rpm, rpd = Bucket("k", "m", Measure.RPM, 60), Bucket("k", "m", Measure.RPD, 10)
    assert dict(grant_headers(reserved((rpm, 1), (rpd, 5)), Dialect.OPENAI, NOW))["x-ratelimit-limit-requests"] == "10"


def test_of_a_refusal_only_what_was_short() -> None:
    rpm, tpm = Bucket("k", "m", Measure.RPM, 60), Bucket("k", "m", Measure.TPM, 6000)
    refusal = asked((rpm, 1), (tpm, 9000))
    assert isinstance(refusal, Refusal)
    headers = dict(refusal_headers(refusal, Dialect.OPENAI, NOW))
    assert headers["x-ratelimit-remaining-tokens"] == "6000"
    assert "x-ratelimit-limit-requests" not in headers


def test_where_nothing_is_counted_nothing_is_said() -> None:
    assert grant_headers(reserved((Bucket("k", "m", Measure.CONCURRENT, 2), 1)), Dialect.VENICE, NOW) == []
