"""What a key looks like."""

import re
import statistics
import time
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.keys.format import id_of, mac, mint, same


def test_a_key_carries_its_id_and_nothing_else_that_is_kept() -> None:
    one, two = mint(), mint()
    assert re.fullmatch(r"tgt_[0-9A-Za-z]{22}_[0-9A-Za-z]{43}", one.text)
    assert id_of(one.text) == one.id
    assert uuid.UUID(one.id).version == 4
    assert one.text.endswith(one.last6)
    assert len(one.last6) == 6
    assert one.text != two.text
    assert one.id != two.id


@pytest.mark.parametrize(
    "text",
    [
        *("", "tgt_", "sk-abc", "x" * 100_000),
        *("tgt_" + "z" * 22 + "_" + "a" * 43, "tgt_" + "0" * 22 + "_" + "a" * 42),
        *("tgt_" + "0" * 22 + "_" + "a" * 43 + "\n", "tgt_" + "٣" * 22 + "_" + "a" * 43),
    ],
)
def test_what_is_no_key(text: str) -> None:
    assert id_of(text) is None


@given(st.text())
def test_no_text_is_too_strange(text: str) -> None:
    id_of(text)
    assert len(mac(b"p" * 32, text)) == 32


def test_another_pepper_or_key_is_another_mac() -> None:
    key = mint().text
    assert same(mac(b"a" * 32, key), mac(b"a" * 32, key))
    assert mac(b"a" * 32, key) != mac(b"b" * 32, key)
    assert mac(b"a" * 32, key) != mac(b"a" * 32, key[:-1] + ("a" if key[-1] != "a" else "b"))


@pytest.mark.slow
def test_the_time_of_a_check_says_nothing_about_how_much_of_a_key_is_right() -> None:
    """Welch's t of a key that is wrong from its first sign against one that is wrong only in its last."""
    pepper, key = b"p" * 32, mint().text
    kept = mac(pepper, key)
    flip = {sign: "a" if sign != "a" else "b" for sign in set(key)}
    early = key[:27] + flip[key[27]] + key[28:]
    late = key[:-1] + flip[key[-1]]
    times: dict[str, list[int]] = {early: [], late: []}
    for turn in range(60_000):
        for text in (early, late) if turn % 2 else (late, early):
            began = time.perf_counter_ns()
            same(mac(pepper, text), kept)
            times[text].append(time.perf_counter_ns() - began)
    samples = []
    for found in times.values():  # the machine's own hiccups are not the key's
        found.sort()
        samples.append(found[: len(found) * 9 // 10])
    one, two = samples
    spread = (statistics.variance(one) / len(one) + statistics.variance(two) / len(two)) ** 0.5
    difference = abs(statistics.fmean(one) - statistics.fmean(two))
    assert difference / spread < 5 or difference < 10  # nanoseconds
