"""What the calls of one key to one model are counted by, prepared."""

from proxy.limits.quota import Quota
from proxy.limits.reference import Bucket, Measure

RPM, RPD = Bucket("k", "m", Measure.RPM, 60), Bucket("k", "m", Measure.RPD, 10)
TPM, SLOTS = Bucket("k", "m", Measure.TPM, 6000), Bucket("k", "m", Measure.CONCURRENT, 2)


def test_requests_come_first_and_tokens_last() -> None:
    quota = Quota([SLOTS, TPM, RPM, RPD])
    assert quota.buckets == (SLOTS, TPM, RPM, RPD), "as the configuration has them"
    assert quota.asks(70) == [(RPM, 1), (RPD, 1), (SLOTS, 1), (TPM, 70)]
    assert quota.requests == [RPM, RPD]
    assert quota.asks(70)[quota.place] == (quota.tokens, 70)


def test_a_call_without_tokens_asks_for_none() -> None:
    assert Quota([TPM, RPM]).asks() == [(RPM, 1)]
    assert Quota([RPM]).asks(70) == [(RPM, 1)]
    assert Quota([]).asks(70) == []


def test_each_call_has_a_list_of_its_own() -> None:
    quota = Quota([RPM])
    quota.asks().append((TPM, 5))
    assert quota.asks() == [(RPM, 1)]


def test_what_answers_say_has_places_for_what_is_left_and_when_it_is_full() -> None:
    quota = Quota([SLOTS, TPM, RPM, RPD])
    assert [line.split(b"\r\n")[0] for line in quota.lines] == [
        b"x-ratelimit-limit-requests: 60", b"x-ratelimit-limit-requests: 10"
    ]  # fmt: skip
    assert quota.token_lines % (7, b"1s") == (
        b"x-ratelimit-limit-tokens: 6000\r\nx-ratelimit-remaining-tokens: 7\r\nx-ratelimit-reset-tokens: 1s\r\n"
    )
