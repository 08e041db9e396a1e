"""Headers about limits, in both dialects."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.call import Dialect
from proxy.limits.memory import MemoryStore
from proxy.limits.quota import Quota
from proxy.limits.reference import Bucket, Measure
from proxy.limits.said import balance_lines, duration, grant_lines, refusal_headers
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


def told(dialect: Dialect, *buckets: Bucket, tokens: int | None = None) -> dict[str, str]:
    quota = Quota(buckets)
    grant = asked(*quota.asks(tokens, None))
    assert isinstance(grant, Grant)
    return read(grant_lines(quota, grant.left, dialect, tokens, lambda: NOW))


def read(lines: bytes) -> dict[str, str]:
    assert not lines or lines.endswith(b"\r\n")
    return dict(line.split(": ") for line in lines.decode().split("\r\n")[:-1])


def test_in_both_dialects() -> None:
    rpm, tpm = Bucket("k", "m", Measure.RPM, 60), Bucket("k", "m", Measure.TPM, 6000)
    assert told(Dialect.OPENAI, rpm, tpm, tokens=600) == {
        "x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "59", "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-limit-tokens": "6000", "x-ratelimit-remaining-tokens": "5400", "x-ratelimit-reset-tokens": "6s",
    }  # fmt: skip
    venice = told(Dialect.VENICE, rpm, tpm, tokens=600)
    assert venice["x-ratelimit-reset-requests"] == "1700000001", "Unix time"
    assert venice["x-ratelimit-reset-tokens"] == "6", "seconds"


def test_balances() -> None:
    assert read(balance_lines({"usd": 1.5, "diem": 2.0, "vcu": 0.000993})) == {
        "x-venice-balance-usd": "1.5", "x-venice-balance-diem": "2", "x-venice-balance-vcu": "0.000993",
    }  # fmt: skip
    assert balance_lines({}) == b""


def test_the_tighter_of_two_kinds_of_requests() -> None:
    rpm, rpd = Bucket("k", "m", Measure.RPM, 60), Bucket("k", "m", Measure.RPD, 10)
    slots = Bucket("k", "m", Measure.CONCURRENT, 3)
    for order in itertools.permutations([slots, rpm, rpd]):
        assert told(Dialect.OPENAI, *order)["x-ratelimit-limit-requests"] == "10"
        assert told(Dialect.OPENAI, *order)["x-ratelimit-remaining-requests"] == "9"


@given(taken=st.tuples(st.integers(-5, 60_000), st.integers(-5, 60_000), st.integers(-5, 900_000)))
def test_all_in_one_text_says_what_each_part_says(taken: tuple[int, int, int]) -> None:
    rpm, rpd = Bucket("k", "m", Measure.RPM, 50_000), Bucket("k", "m", Measure.RPD, 40_000_000)
    tpm = Bucket("k", "m", Measure.TPM, 800_000)
    left = [bucket.capacity - gone for bucket, gone in zip((rpm, rpd, tpm), taken, strict=True)]
    requests = grant_lines(Quota([rpm, rpd]), left[:2], Dialect.OPENAI, 7)
    tokens = grant_lines(Quota([tpm]), left[2:], Dialect.OPENAI, 7)
    assert grant_lines(Quota([rpm, rpd, tpm]), left, Dialect.OPENAI, 7) == requests + tokens


def test_a_call_without_tokens_is_told_none() -> None:
    rpm, tpm = Bucket("k", "m", Measure.RPM, 60), Bucket("k", "m", Measure.TPM, 6000)
    purse = Bucket("k", "", Measure.BUDGET, 500)
    store, quota = MemoryStore(clock=lambda: 5), Quota([tpm, rpm])
    store.seed(purse, 0)
    grant = store.reserve_now(quota.asks(None, (purse, 7)))
    assert isinstance(grant, Grant)
    assert list(read(grant_lines(quota, grant.left, Dialect.OPENAI, None))) == [
        "x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"
    ]  # fmt: skip


def test_what_is_overdrawn_is_nothing_left() -> None:
    tpm = Bucket("k", "m", Measure.TPM, 60)
    quota = Quota([tpm])
    said = read(grant_lines(quota, [-30], Dialect.OPENAI, 30))
    assert (said["x-ratelimit-remaining-tokens"], said["x-ratelimit-reset-tokens"]) == ("0", "1m30s")


def test_of_a_refusal_only_what_was_short() -> None:
    rpm, tpm = Bucket("k", "m", Measure.RPM, 60), Bucket("k", "m", Measure.TPM, 6000)
    refusal = asked((rpm, 1), (tpm, 9000))
    assert isinstance(refusal, Refusal)
    headers = dict(refusal_headers(refusal, Dialect.OPENAI, NOW))
    assert headers["x-ratelimit-remaining-tokens"] == "6000"
    assert "x-ratelimit-limit-requests" not in headers


def test_where_nothing_is_counted_nothing_is_said() -> None:
    assert told(Dialect.VENICE, Bucket("k", "m", Measure.CONCURRENT, 2), tokens=5) == {}
