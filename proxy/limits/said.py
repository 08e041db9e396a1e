"""What answers say about limits: `x-ratelimit-*` in the meaning of each dialect, and Venice's balances. Pure.

OpenAI's resets are durations (`6m0s`); Venice's are the Unix time at which requests are full again, and seconds for tokens.
"""

from collections.abc import Callable, Mapping, Sequence

from proxy.call import Dialect
from proxy.limits.hits import now_us
from proxy.limits.quota import Quota
from proxy.limits.reference import Bucket, Measure
from proxy.limits.store import Refusal

Headers = list[tuple[str, str]]
_REQUESTS = ("x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests")
_TOKENS = ("x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens")
_VENICE = Dialect.VENICE


def grant_lines(
    quota: Quota, left: Sequence[int], dialect: Dialect, tokens: int | None, clock: Callable[[], int] = now_us
) -> bytes:
    """Of what was reserved: the tightest bucket of requests (in proportion), and of tokens if any were asked for, as lines of
    headers. For every call: no step too many."""
    lines, line, have = quota.lines, None, 0
    if lines:
        line, have = lines[0], left[0]
        if len(lines) > 1 and left[1] * line.capacity < have * lines[1].capacity:
            line, have = lines[1], left[1]
    token_line = quota.token_line
    if tokens is None or token_line is None:
        return b"" if line is None else line.told % (max(have, 0), _reset(True, line.bucket, have, dialect, clock))
    rest = left[len(lines)]
    if line is not None and dialect is not _VENICE:
        ms = -((have - line.capacity) * line.q // line.p_ms)
        token_ms = -((rest - token_line.capacity) * token_line.q // token_line.p_ms)
        if 0 <= ms < 1000 and 0 <= token_ms < 1000:  # fast path: nearly full
            return line.both % (have, _SOON[ms], rest, _SOON[token_ms])
    told = b"" if line is None else line.told % (max(have, 0), _reset(True, line.bucket, have, dialect, clock))
    return told + token_line.told % (max(rest, 0), _reset(False, token_line.bucket, rest, dialect, clock))


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
        return duration(full_us).encode()
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


_SOON = [duration(1000 * ms).encode() for ms in range(1000)]
