"""What the calls of one key to one model are counted by: their buckets, and what answers say of them, prepared, so that a call
fills in its figures and no more.

It knows buckets, what each of them is asked for and the names of headers, no store and no call. Immutable; one for each key
and model of a snapshot.
"""

from collections.abc import Iterable
from typing import Any

from proxy.limits.reference import Bucket, Measure
from proxy.limits.store import Ask

_REQUESTS = (Measure.RPM, Measure.RPD)


class Quota:
    """`buckets` in the order of the configuration, one of a measure. Asked for are first those of requests (`requests`), then,
    where a call has tokens, `tokens`, and then `slots`: so the places of what is left are known beforehand. `ones` are those that
    every call takes one of.

    `lines` belong to `requests`, `token_line` to `tokens`. `states` is the store's, which may have something prepared for them.
    """

    __slots__ = ("buckets", "lines", "ones", "requests", "slots", "states", "token_line", "tokens")

    def __init__(self, buckets: Iterable[Bucket]) -> None:
        self.buckets = tuple(buckets)
        self.requests = [bucket for bucket in self.buckets if bucket.measure in _REQUESTS]
        self.slots = next((bucket for bucket in self.buckets if bucket.measure is Measure.CONCURRENT), None)
        self.tokens = next((bucket for bucket in self.buckets if bucket.measure is Measure.TPM), None)
        self.token_line = None if self.tokens is None else Line(b"tokens", self.tokens)
        self.lines = [Line(b"requests", bucket, self.token_line) for bucket in self.requests]
        self.ones = self.asks(None, None)
        self.states: Any = None

    def asks(self, tokens: int | None, purse: Ask | None) -> list[Ask]:
        """What a call asks for; `tokens` are not asked for where nobody counts them."""
        asks = [(bucket, 1) for bucket in self.requests]
        if tokens is not None and self.tokens is not None:
            asks.append((self.tokens, tokens))
        if self.slots is not None:
            asks.append((self.slots, 1))
        if purse is not None:
            asks.append(purse)
        return asks


class Line:
    """The headers about one bucket. `told` has places for what is left and for when it is full again, `both` has the tokens' two
    behind them. `q` of tokens come back in `p_ms` ms."""

    __slots__ = ("both", "bucket", "capacity", "p_ms", "q", "told")

    def __init__(self, what: bytes, bucket: Bucket, tokens: "Line | None" = None) -> None:
        self.bucket = bucket
        self.capacity = bucket.capacity
        self.q = bucket.q if bucket.p else 0
        self.p_ms = 1000 * (bucket.p or 1)
        names = [b"x-ratelimit-%b-%b: " % (which, what) for which in (b"limit", b"remaining", b"reset")]
        self.told = b"%b%d\r\n%b%%d\r\n%b%%b\r\n" % (names[0], bucket.capacity, names[1], names[2])
        self.both = self.told + (b"" if tokens is None else tokens.told)
