"""What answers say about limits: `x-ratelimit-*` in the meaning of each dialect, and Venice's balances. Pure.

OpenAI's resets are durations (`6m0s`); Venice's are the Unix time at which requests are full again, and seconds for tokens.
"""

from collections.abc import Mapping

from proxy.call import Dialect
from proxy.limits.reference import Bucket, Measure
from proxy.limits.store import Grant, Refusal

Headers = list[tuple[str, str]]
_REQUESTS = ("x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests")
_TOKENS = ("x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens")


def grant_headers(grant: Grant, dialect: Dialect, now_us: int, balance: Mapping[str, float] | None = None) -> Headers:
    """Of what was reserved: the tightest bucket of requests (in proportion), and of tokens; `balance` is what each
    currency had before the call. For every call: no step too many."""
    requests = tokens = None
    requests_left = tokens_left = 0
    for (bucket, _), left in zip(grant.asks, grant.left, strict=True):
        measure = bucket.measure
        if measure is Measure.TPM:
            tokens, tokens_left = bucket, left
        elif (measure is Measure.RPM or measure is Measure.RPD) and (
            requests is None or left * requests.capacity < requests_left * bucket.capacity
        ):
            requests, requests_left = bucket, left
    headers: Headers = []
    if requests is not None:
        headers += _three(_REQUESTS, requests, requests_left, dialect, now_us)
    if tokens is not None:
        headers += _three(_TOKENS, tokens, tokens_left, dialect, now_us)
    if balance:
        for currency, amount in balance.items():
            headers.append((f"x-venice-balance-{currency}", f"{amount:.6f}".rstrip("0").rstrip(".")))
    return headers


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
        (names[2], _reset(names is _REQUESTS, full_us, dialect, now_us)),
    ]


def _reset(requests: bool, reset_us: int, dialect: Dialect, now_us: int) -> str:
    if dialect is not Dialect.VENICE:
        return duration(reset_us)
    if requests:
        return str(-(-(now_us + reset_us) // 1_000_000))
    return str(-(-reset_us // 1_000_000))


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
