"""What the calls of one key to one model are counted by: their buckets, and what answers say of them, prepared, so that a call
fills in its figures and no more.

It knows buckets, what each of them is asked for and the names of headers, no store and no call. Immutable; one for each key
and model of a snapshot.
"""

from collections.abc import Iterable

from proxy.limits.reference import Bucket, Measure
from proxy.limits.store import Ask

_REQUESTS = (Measure.RPM, Measure.RPD)


class Quota:
    """`buckets` in the order of the configuration. Asked for are first those of requests (`requests`), then those that a call
    takes one of (both are `ones`, to be copied), and last, where a call has tokens, `tokens`: so the places in a Grant are
    known beforehand.

    `lines` belong to `requests`, `token_lines` to `tokens`: headers with places for what is left and when it is full again.
    """

    __slots__ = ("buckets", "lines", "ones", "place", "requests", "token_lines", "tokens")

    def __init__(self, buckets: Iterable[Bucket]) -> None:
        self.buckets = tuple(buckets)
        ones = [bucket for bucket in self.buckets if bucket.measure is not Measure.TPM]
        ones.sort(key=lambda bucket: bucket.measure not in _REQUESTS)
        self.requests = [bucket for bucket in ones if bucket.measure in _REQUESTS]
        self.tokens = next((bucket for bucket in self.buckets if bucket.measure is Measure.TPM), None)
        self.place = len(ones)  # of the tokens
        self.lines = [_lines(b"requests", bucket) for bucket in self.requests]
        self.token_lines = b"" if self.tokens is None else _lines(b"tokens", self.tokens)
        self.ones: list[Ask] = [(bucket, 1) for bucket in ones]


def _lines(what: bytes, bucket: Bucket) -> bytes:
    names = [b"x-ratelimit-%b-%b: " % (which, what) for which in (b"limit", b"remaining", b"reset")]
    return b"%b%d\r\n%b%%d\r\n%b%%b\r\n" % (names[0], bucket.capacity, names[1], names[2])
