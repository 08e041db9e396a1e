"""What answers say about limits: `x-ratelimit-*` in the meaning of each dialect, and Venice's balances. Pure.

OpenAI's resets are durations (`6m0s`); Venice's are the Unix time at which requests are full again, and seconds for tokens.
"""

from collections.abc import Callable, Mapping

from proxy.call import Dialect
from proxy.limits.hits import now_us
from proxy.limits.quota import Quota
from proxy.limits.reference import Bucket, Measure
from proxy.limits.store import Grant, Refusal

Headers = list[tuple[str, str]]
Told = list[tuple[bytes, bytes]]  # as they are sent
_REQUESTS = ("x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests")
_TOKENS = ("x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens")
_VENICE = Dialect.VENICE
_LIMIT, _REMAINING, _RESET = (name.encode() for name in _REQUESTS)
_LIMIT_T, _REMAINING_T, _RESET_T = (name.encode() for name in _TOKENS)


def grant_headers(quota: Quota, grant: Grant, dialect: Dialect, clock: Callable[[], int] = now_us) -> Told:
    """Of what was reserved: the tightest bucket of requests (in proportion), and of tokens. For every call: no step too
    many."""
    told: Told = []
    left, requests = grant.left, quota.requests
    if requests:
        bucket, have = requests[0], left[0]
        for place in range(1, len(requests)):
            other = requests[place]
            if left[place] * bucket.capacity < have * other.capacity:
                bucket, have = other, left[place]
        full_us = -(-(bucket.capacity - have) * bucket.q // bucket.p) if bucket.p else 0
        told.append((_LIMIT, b"%d" % bucket.capacity))
        told.append((_REMAINING, b"%d" % have if have > 0 else b"0"))
        short = 0 < full_us <= 999_000 and dialect is not _VENICE
        told.append((_RESET, b"%dms" % -(-full_us // 1000) if short else _reset(True, full_us, dialect, clock)))
    place = quota.place
    if place < len(left) and quota.tokens is not None and grant.asks[place][0] is quota.tokens:
        bucket, have = quota.tokens, left[place]
        full_us = -(-(bucket.capacity - have) * bucket.q // bucket.p) if bucket.p else 0
        told.append((_LIMIT_T, b"%d" % bucket.capacity))
        told.append((_REMAINING_T, b"%d" % have if have > 0 else b"0"))
        short = 0 < full_us <= 999_000 and dialect is not _VENICE
        told.append((_RESET_T, b"%dms" % -(-full_us // 1000) if short else _reset(False, full_us, dialect, clock)))
    return told


def balance_headers(balance: Mapping[str, float]) -> Told:
    """Venice's: what each currency had before the call."""
    told = []
    for currency, amount in balance.items():
        told.append((f"x-venice-balance-{currency}".encode(), f"{amount:.6f}".rstrip("0").rstrip(".").encode()))
    return told


def refusal_headers(refusal: Refusal, dialect: Dialect, now_us: int) -> Headers:
    """Of what was short."""
    headers: Headers = []
    for names, measures in ((_REQUESTS, (Measure.RPM, Measure.RPD)), (_TOKENS, (Measure.TPM,))):
        short = [item for item in refusal.short if item.bucket.measure in measures]
        if short:
            worst = max(short, key=lambda item: item.wait_us or 0)
            headers += _three(names, worst.bucket, worst.have, dialect, now_us)
    return headers


def _three(names: tuple[str, str, str], bucket: Bucket, left: int, dialect: Dialect, now_us: int) -> Headers:
    full_us = -(-(bucket.capacity - left) * bucket.q // bucket.p) if bucket.p else 0
    return [
        (names[0], str(bucket.capacity)),
        (names[1], str(left if left > 0 else 0)),
        (names[2], _reset(names is _REQUESTS, full_us, dialect, lambda: now_us).decode()),
    ]


def _reset(requests: bool, reset_us: int, dialect: Dialect, clock: Callable[[], int]) -> bytes:
    if dialect is not _VENICE:
        return duration(reset_us).encode()
    if requests:
        return b"%d" % -(-(clock() + reset_us) // 1_000_000)
    return b"%d" % -(-reset_us // 1_000_000)


def duration(us: int) -> str:
    """As Go writes it, and OpenAI: `12ms`, `1.5s`, `6m0s`, `1h0m0s`. Rounded up to milliseconds."""
    ms = -(-us // 1000)
    if ms < 1000:
        return f"{ms}ms" if ms else "0s"
    seconds, ms = divmod(ms, 1000)
    hours, rest = divmod(seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    tail = f"{seconds}.{ms:03d}".rstrip("0").rstrip(".") if ms else str(seconds)
    if hours:
        return f"{hours}h{minutes}m{tail}s"
    return f"{minutes}m{tail}s" if minutes else f"{tail}s"
