"""What the calls of one key to one model are counted by: their buckets, prepared, so that a call fills in its tokens and no more.

It knows buckets and what each of them is asked for, no store and no call. Immutable; one for each key and model of a snapshot.
"""

from collections.abc import Iterable

from proxy.limits.reference import Bucket, Measure
from proxy.limits.store import Ask

_REQUESTS = (Measure.RPM, Measure.RPD)


class Quota:
    """`buckets` in the order of the configuration. Asked for are first those of requests, `requests` of them, then those that
    a call takes one of, and last, where a call has tokens, `tokens`: so the places in a Grant are known beforehand."""

    __slots__ = ("_ones", "buckets", "place", "requests", "tokens")

    def __init__(self, buckets: Iterable[Bucket]) -> None:
        self.buckets = tuple(buckets)
        ones = [bucket for bucket in self.buckets if bucket.measure is not Measure.TPM]
        ones.sort(key=lambda bucket: bucket.measure not in _REQUESTS)
        self.requests = [bucket for bucket in ones if bucket.measure in _REQUESTS]
        self.tokens = next((bucket for bucket in self.buckets if bucket.measure is Measure.TPM), None)
        self._ones: list[Ask] = [(bucket, 1) for bucket in ones]
        self.place = len(ones)  # of the tokens

    def asks(self, tokens: int | None = None) -> list[Ask]:
        """What a call asks for, in a list of its own; None: it has no tokens."""
        asks = self._ones.copy()
        if tokens is not None and self.tokens is not None:
            asks.append((self.tokens, tokens))
        return asks
