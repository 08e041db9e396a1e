"""What answers say about limits: `x-ratelimit-*` in the meaning of each dialect, and Venice's balances. Pure.

OpenAI's resets are durations (`6m0s`); Venice's are the Unix time at which requests are full again, and seconds for tokens.
"""

from collections.abc import Mapping

from proxy.call import Dialect
from proxy.limits.reference import Measure
from proxy.limits.store import Grant, Refusal

Headers = list[tuple[str, str]]
_KINDS = (("requests", (Measure.RPM, Measure.RPD)), ("tokens", (Measure.TPM,)))


def limit_headers(
    found: Grant | Refusal, dialect: Dialect, now_us: int, balance: Mapping[str, float] | None = None
) -> Headers:
    """Of the tightest bucket of each kind that was asked; `balance` is what each currency had before the call."""
    headers: Headers = []
    for kind, measures in _KINDS:
        state = _state(found, measures)
        if state is None:
            continue
        limit, left, reset_us = state
        headers += [(f"x-ratelimit-limit-{kind}", str(limit)), (f"x-ratelimit-remaining-{kind}", str(left))]
        headers.append((f"x-ratelimit-reset-{kind}", _reset(kind, reset_us, dialect, now_us)))
    for currency, amount in (balance or {}).items():
        headers.append((f"x-venice-balance-{currency}", f"{amount:.6f}".rstrip("0").rstrip(".")))
    return headers


def _state(found: Grant | Refusal, measures: tuple[Measure, ...]) -> tuple[int, int, int] | None:
    """(limit, left, µs until it is full again); of several the one with the least left in proportion."""
    if isinstance(found, Grant):
        states = [state for measure in measures if (state := found.remaining(measure)) is not None]
        return min(states, key=lambda state: state[1] / (state[0] or 1), default=None)
    short = [item for item in found.short if item.bucket.measure in measures]
    if not short:
        return None
    worst = max(short, key=lambda item: item.wait_us or 0)
    bucket = worst.bucket
    missing = (bucket.capacity - worst.have) * bucket.q
    return bucket.capacity, max(0, worst.have), -(-missing // bucket.p) if bucket.p else 0


def _reset(kind: str, reset_us: int, dialect: Dialect, now_us: int) -> str:
    if dialect is not Dialect.VENICE:
        return duration(reset_us)
    if kind == "requests":
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
