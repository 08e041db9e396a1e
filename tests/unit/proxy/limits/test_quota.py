"""What the calls of one key to one model are counted by, prepared."""

from proxy.limits.quota import Quota
from proxy.limits.reference import Bucket, Measure

RPM, RPD = Bucket("k", "m", Measure.RPM, 60), Bucket("k", "m", Measure.RPD, 10)
TPM, SLOTS = Bucket("k", "m", Measure.TPM, 6000), Bucket("k", "m", Measure.CONCURRENT, 2)


def test_requests_come_first_and_tokens_stand_apart() -> None:
    quota = Quota([SLOTS, TPM, RPM, RPD])
    assert quota.buckets == (SLOTS, TPM, RPM, RPD), "as the configuration has them"
    assert quota.ones == [(RPM, 1), (RPD, 1), (SLOTS, 1)]
    assert (quota.requests, quota.tokens, quota.slots) == ([RPM, RPD], TPM, SLOTS)


def test_what_a_call_asks_for() -> None:
    quota, purse = Quota([SLOTS, TPM, RPM, RPD]), (Bucket("k", "", Measure.BUDGET, 9), 7)
    assert quota.asks(40, purse) == [(RPM, 1), (RPD, 1), (TPM, 40), (SLOTS, 1), purse]
    assert quota.asks(None, None) == quota.ones
    assert Quota([RPM]).asks(40, None) == [(RPM, 1)], "nobody counts tokens"


def test_without_tokens_and_without_anything() -> None:
    assert (Quota([RPM]).tokens, Quota([RPM]).token_line, Quota([RPM]).slots) == (None, None, None)
    assert (Quota([]).ones, Quota([]).lines) == ([], [])


def test_what_answers_say_has_places_for_what_is_left_and_when_it_is_full() -> None:
    quota = Quota([SLOTS, TPM, RPM, RPD])
    assert [line.told.split(b"\r\n")[0] for line in quota.lines] == [
        b"x-ratelimit-limit-requests: 60", b"x-ratelimit-limit-requests: 10"
    ]  # fmt: skip
    assert quota.token_line is not None
    tokens = b"x-ratelimit-limit-tokens: 6000\r\nx-ratelimit-remaining-tokens: 7\r\nx-ratelimit-reset-tokens: %b\r\n"
    assert quota.token_line.told % (7, b"1s") == tokens % b"1s"
    assert quota.lines[1].both % (3, b"12ms", 7, b"900ms") == (
        b"x-ratelimit-limit-requests: 10\r\nx-ratelimit-remaining-requests: 3\r\n"
        b"x-ratelimit-reset-requests: 12ms\r\n" + tokens % b"900ms"
    )
    line = quota.lines[0]
    assert (line.capacity, line.q / line.p_ms) == (60, 1000), "one comes back in 1000 ms"


def test_what_never_refills_is_never_soon_full() -> None:
    line = Quota([Bucket("k", "m", Measure.RPM, 0)]).lines[0]
    assert (line.q, line.p_ms) == (0, 1000)
