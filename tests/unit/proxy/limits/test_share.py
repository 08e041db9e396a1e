"""Deciding alone."""

from proxy.limits.reference import MINUTE_US, Bucket, Measure
from proxy.limits.share import Shares
from proxy.limits.store import Grant, Refusal
from proxy.limits.wallet import Wallet

RPM, SLOTS = Bucket("k", "m", Measure.RPM, 120), Bucket("k", "m", Measure.CONCURRENT, 4)
MONEY = Bucket("k", "", Measure.BUDGET, 100, epoch="2026-11-21")


def test_a_share_begins_empty_and_fills_at_its_part_of_the_rate() -> None:
    shares, wallet = Shares(4), Wallet(RPM)
    shares.begin(1000)
    first = shares.reserve([(RPM, 1)], [wallet], 1000)
    assert isinstance(first, Refusal)
    assert first.wait_us == 2_000_000
    assert isinstance(shares.reserve([(RPM, 1)], [wallet], 2_000_999), Refusal)
    assert isinstance(shares.reserve([(RPM, 1)], [wallet], 2_001_000), Grant)
    assert isinstance(shares.reserve([(RPM, 30)], [wallet], 10 * MINUTE_US), Grant)
    assert isinstance(shares.reserve([(RPM, 1)], [wallet], 10 * MINUTE_US), Refusal)


def test_what_was_not_used_comes_back_within_the_same_silence_only() -> None:
    shares, wallet = Shares(1), Wallet(RPM)
    shares.begin(0)
    grant = shares.reserve([(RPM, 120)], [wallet], MINUTE_US)
    assert isinstance(grant, Grant)
    shares.end(grant, [wallet], None, MINUTE_US)
    again = shares.reserve([(RPM, 120)], [wallet], MINUTE_US)
    assert isinstance(again, Grant)
    shares.begin(2 * MINUTE_US)
    shares.end(again, [wallet], None, 2 * MINUTE_US)
    assert isinstance(shares.reserve([(RPM, 1)], [wallet], 2 * MINUTE_US), Refusal)


def test_slots_go_from_call_to_call_and_budgets_are_what_is_in_hand() -> None:
    shares, slots, money = Shares(2), Wallet(SLOTS), Wallet(MONEY)
    slots.free = 1
    grant = shares.reserve([(SLOTS, 1)], [slots], 0)
    assert isinstance(grant, Grant)
    assert isinstance(shares.reserve([(SLOTS, 1)], [slots], 0), Refusal)
    shares.end(grant, [slots], {}, 0)
    assert slots.free == 1
    unknown = shares.reserve([(MONEY, 1)], [money], 0)
    assert isinstance(unknown, Refusal)
    assert unknown.unreachable
    money.known, money.free = True, 10
    spent = shares.reserve([(MONEY, 8)], [money], 0)
    assert isinstance(spent, Grant)
    shares.end(spent, [money], {Measure.BUDGET: 3}, 0)
    assert (money.free, money.spent, money.held) == (7, 3, 0)
