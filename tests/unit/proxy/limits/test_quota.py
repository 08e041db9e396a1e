"""What the calls of one key to one model are counted by, prepared."""

from proxy.limits.quota import Quota
from proxy.limits.reference import Bucket, Measure

RPM, RPD = Bucket("k", "m", Measure.RPM, 60), Bucket("k", "m", Measure.RPD, 10)
TPM, SLOTS = Bucket("k", "m", Measure.TPM, 6000), Bucket("k", "m", Measure.CONCURRENT, 2)


def test_requests_come_first_and_tokens_stand_apart() -> None:
    quota = Quota([SLOTS, TPM, RPM, RPD])
    assert quota.buckets == (SLOTS, TPM, RPM, RPD), "as the configuration has them"
    assert quota.ones == [(RPM, 1), (RPD, 1), (SLOTS, 1)]
    assert (quota.requests, quota.tokens, quota.place) == ([RPM, RPD], TPM, 3)


def test_without_tokens_and_without_anything() -> None:
    assert (Quota([RPM]).tokens, Quota([RPM]).token_lines) == (None, b"")
    assert (Quota([]).ones, Quota([]).lines) == ([], [])


def test_what_answers_say_has_places_for_what_is_left_and_when_it_is_full() -> None:
    quota = Quota([SLOTS, TPM, RPM, RPD])
    assert [line.split(b"\r\n")[0] for line in quota.lines] == [
        b"x-ratelimit-limit-requests: 60", b"x-ratelimit-limit-requests: 10"
    ]  # fmt: skip
    assert quota.token_lines % (7, b"1s") == (
        b"x-ratelimit-limit-tokens: 6000\r\nx-ratelimit-remaining-tokens: 7\r\nx-ratelimit-reset-tokens: 1s\r\n"
    )
