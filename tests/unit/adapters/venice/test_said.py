"""Venice's headers for callers, and for us."""

from adapters.venice.said import merged, passed_on, wait_s
from proxy.call import Dialect

ANSWER = {
    "x-venice-is-blurred": "true",
    "x-venice-is-content-violation": "false",
    "x-venice-balance-usd": "12.5",
    "x-ratelimit-remaining-requests": "12",
    "x-venice-host-name": "pod-7",
    "x-venice-version": "20250709.013306",
    "x-venice-model-deprecation-date": "2026-12-24",
    "x-venice-model-deprecation-warning": 'use "qwen" instead\\',
    "x-venice-replacement": "qwen",
}
FLAGS = [("x-venice-is-blurred", "true"), ("x-venice-is-content-violation", "false")]


def test_venices_clients_read_the_news_as_they_came() -> None:
    assert passed_on(ANSWER, Dialect.VENICE) == [
        *FLAGS,
        ("x-venice-model-deprecation-warning", 'use "qwen" instead\\'),
        ("x-venice-model-deprecation-date", "2026-12-24"),
        ("x-venice-replacement", "qwen"),
    ]


def test_others_read_them_as_standard_headers() -> None:
    assert passed_on(ANSWER, Dialect.OPENAI) == [
        *FLAGS,
        ("sunset", "Thu, 24 Dec 2026 00:00:00 GMT"),
        ("warning", "299 - \"use 'qwen' instead\""),
    ]
    assert passed_on({"x-venice-model-deprecation-date": "soon"}, Dialect.OPENAI) == []


def test_a_flag_is_raised_if_one_answer_raises_it() -> None:
    clean, bad = ("x-venice-is-blurred", "false"), ("x-venice-is-blurred", "true")
    assert merged([[clean], [bad], [clean]]) == [bad]
    assert merged([[], [clean]]) == [clean]


def test_a_limit_is_waited_for_by_what_is_used_up() -> None:
    requests = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1030"}
    tokens = {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "60"}
    assert wait_s(requests, now=1000) == 30
    assert wait_s(tokens, now=1000) == 60
    assert wait_s(requests | tokens, now=1000) == 60
    assert wait_s(requests, now=2000) == 0
    assert wait_s({"x-ratelimit-remaining-requests": "3", "x-ratelimit-reset-requests": "1030"}) is None
    assert wait_s({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "later"}) is None
