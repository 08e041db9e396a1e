"""What a line of the books says. Data only; times in µs since 1970 (UTC) or in ms, money in micro-units of `currency`.

A Row's fields are the columns of `calls`, name by name and in their order; new ones come last, so that a journal that does not
have them can be read. None is "not known", and never stands for nothing.
"""

import time
from datetime import UTC, datetime

import msgspec


def now_us() -> int:
    return time.time_ns() // 1000


class Mark(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A call is about to be sent to an upstream. Written before the first byte leaves; the row replaces it."""

    call_id: str
    key_id: str
    operation: str
    model: str
    upstream: str
    target: str
    created_us: int
    price_version: str = ""


class Row(msgspec.Struct, array_like=True, tag="row", gc=False):
    """One call that reached an upstream, as it ended.

    `attempts` is JSON: a list of {target, reason, error, ms}. The amounts are null if a price that was needed is not
    known; `amount_micro` is the sum of the others. `bytes_out` is how much of the answer left (for a client that left).
    """

    call_id: str
    key_id: str
    operation: str
    model: str
    upstream: str
    target: str
    created_us: int
    settled_us: int
    ending: str  # finished | cancelled | failed | interrupted
    stream: bool = False
    error: str | None = None
    attempts: str = "[]"
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    characters: int | None = None
    images: int | None = None
    usage_source: str | None = None  # upstream | tokenizer | estimate
    price_version: str = ""
    currency: str = "USD"
    input_micro: int | None = None
    cached_micro: int | None = None
    output_micro: int | None = None
    unit_micro: int | None = None
    amount_micro: int | None = None
    input_price: int | None = None  # nano-units per million tokens (or per unit), as they were then
    cached_price: int | None = None
    output_price: int | None = None
    unit_price: int | None = None
    unit: str | None = None  # image-unit | upscale-2x-unit | upscale-4x-unit | tts-mcharacter
    queue_ms: float | None = None
    ttft_ms: float | None = None
    total_ms: float | None = None
    bytes_out: int | None = None


def interrupted(mark: Mark, now_us: int) -> Row:
    """The row of a call whose process died: what it used is not known, so neither is what it costs."""
    return Row(
        call_id=mark.call_id,
        key_id=mark.key_id,
        operation=mark.operation,
        model=mark.model,
        upstream=mark.upstream,
        target=mark.target,
        created_us=mark.created_us,
        settled_us=now_us,
        ending="interrupted",
        error="process_died",
        price_version=mark.price_version,
    )


def timestamp(us: int) -> str:
    """ISO 8601 in UTC with milliseconds and Z, as Venice writes it."""
    return datetime.fromtimestamp(us / 1e6, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
