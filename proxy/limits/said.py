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
_REQUESTS = ("x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests")
_TOKENS = ("x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens")
_VENICE = Dialect.VENICE


def grant_lines(quota: Quota, grant: Grant, dialect: Dialect, clock: Callable[[], int] = now_us) -> bytes:
    """Of what was reserved: the tightest bucket of requests (in proportion), and of tokens, as lines of headers. For every
    call: no step too many."""
    left, requests, told = grant.left, quota.requests, b""
    if requests:
        tightest, bucket, have = 0, requests[0], left[0]
        for place in range(1, len(requests)):
            other = requests[place]
            if left[place] * bucket.capacity < have * other.capacity:
                tightest, bucket, have = place, other, left[place]
        told = quota.lines[tightest] % (have if have > 0 else 0, _reset(True, bucket, have, dialect, clock))
    place = quota.place
    if place < len(left) and (tokens := quota.tokens) is not None and grant.asks[place][0] is tokens:
        have = left[place]
        told += quota.token_lines % (have if have > 0 else 0, _reset(False, tokens, have, dialect, clock))
    return told


def balance_lines(balance: Mapping[str, float]) -> bytes:
    """Venice's: what each currency had before the call."""
    shown = {currency: f"{amount:.6f}".rstrip("0").rstrip(".") for currency, amount in balance.items()}
    return "".join(f"x-venice-balance-{currency}: {amount}\r\n" for currency, amount in shown.items()).encode()


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
    reset = _reset(names is _REQUESTS, bucket, left, dialect, lambda: now_us)
    return [(names[0], str(bucket.capacity)), (names[1], str(left if left > 0 else 0)), (names[2], reset.decode())]


def _reset(requests: bool, bucket: Bucket, left: int, dialect: Dialect, clock: Callable[[], int]) -> bytes:
    """When the bucket is full again."""
    full_us = -(-(bucket.capacity - left) * bucket.q // bucket.p) if bucket.p else 0
    if dialect is not _VENICE:
        return b"%dms" % -(-full_us // 1000) if 0 < full_us <= 999_000 else duration(full_us).encode()
    if requests:
        full_us += clock()
    return b"%d" % -(-full_us // 1_000_000)


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
