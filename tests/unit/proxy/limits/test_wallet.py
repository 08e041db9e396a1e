"""What one member has in hand."""

from proxy.limits.reference import Bucket, Measure
from proxy.limits.store import Grant, Refusal
from proxy.limits.wallet import BLOCK_US, LARGE, Wallet, blocked, end, refused, take

SMALL, BIG = Bucket("k", "m", Measure.RPM, 10), Bucket("k", "m", Measure.TPM, 100_000)
SLOTS = Bucket("k", "m", Measure.CONCURRENT, 4)


def holding(bucket: Bucket, free: int, expires: int = 100) -> Wallet:
    wallet = Wallet(bucket)
    wallet.free, wallet.expires = free, expires
    return wallet


def taken(bucket: Bucket, amount: int, wallet: Wallet) -> Grant:
    grant = take([(bucket, amount)], [wallet], 50)
    assert grant is not None
    return grant


def test_all_wallets_have_it_or_none_is_touched() -> None:
    rich, poor, slots = holding(BIG, 1000), holding(SMALL, 0), holding(SLOTS, 1, expires=0)
    assert take([(BIG, 600), (SMALL, 1)], [rich, poor], 50) is None
    assert (rich.free, rich.spent, rich.active) == (1000, 0, False)
    purse = Bucket("k", "", Measure.BUDGET, 500)
    assert take([(BIG, 1), (purse, 0)], [rich, holding(purse, 0)], 50) is None, "nobody has said what was spent"
    grant = take([(BIG, 600), (SLOTS, 1)], [rich, slots], 99)
    assert grant is not None
    assert grant.left == [400, 0]
    assert take([(BIG, 1)], [rich], 100) is None, "it has lapsed"
    assert rich.free == 0


def test_whether_anybody_may_wait_for_a_slot() -> None:
    few, many = holding(SLOTS, 2), holding(Bucket("k", "m", Measure.CONCURRENT, 1000), 2)
    assert end(taken(SLOTS, 1, few), [few], None, 50)
    assert not end(taken(many.bucket, 1, many), [many], None, 50)
    assert (few.free, few.held, many.free, many.held) == (2, 0, 2, 0)


def test_what_has_lapsed_is_not_spent() -> None:
    wallet = holding(SMALL, 3)
    assert wallet.has(3, 99)
    assert not wallet.has(1, 100)
    assert wallet.free == 0
    assert holding(SLOTS, 3, expires=0).has(3, 1 << 60)  # slots do not lapse


def test_what_was_not_reported_yet_was_never_spent() -> None:
    wallet = holding(BIG, 1000)
    grant = taken(BIG, 600, wallet)
    assert (wallet.free, wallet.spent) == (400, 600)
    end(grant, [wallet], {Measure.TPM: 100}, 50)
    assert (wallet.free, wallet.spent) == (900, 100)


def test_what_was_reported_is_asked_back() -> None:
    wallet = holding(BIG, 1000)
    grant = taken(BIG, 600, wallet)
    batch = wallet.batch
    wallet.batch = type(batch)()
    end(grant, [wallet], {Measure.TPM: 100}, 50)
    assert (wallet.free, wallet.spent) == (400, 600)
    batch.seq = 77
    assert wallet.op(None)[9] == [[77, 500]]
    wallet = holding(BIG, 1000)
    grant = taken(BIG, 600, wallet)
    wallet.batch.void, wallet.batch = True, type(batch)()
    end(grant, [wallet], None, 50)
    assert wallet.op(None)[9] == []  # Redis had written it off


def test_a_debt_is_told_whoever_granted_it() -> None:
    wallet = holding(BIG, 1000)
    end(taken(BIG, 600, wallet), [wallet], {Measure.TPM: 900}, 50)
    assert wallet.op(None)[9] == [[0, -300]]


def test_what_is_small_or_idle_is_not_kept() -> None:
    assert holding(SMALL, 5).op(None)[6] == 0
    assert holding(SMALL, 5).op(0)[6] == 5
    idle, busy = holding(BIG, 5), holding(BIG, 5)
    busy.active = True
    assert (idle.op(None)[6], busy.op(None)[6]) == (0, 5)
    assert idle.free == 0
    assert busy.op(7)[7:9] == [7, BIG.capacity // 100]
    assert BIG.capacity >= LARGE


def test_slots_that_running_calls_have_are_said_again_in_a_new_era() -> None:
    wallet = holding(SLOTS, 2)
    taken(SLOTS, 1, wallet)
    wallet.forget()
    assert (wallet.free, wallet.held, wallet.active) == (0, 1, True)
    assert wallet.op(None)[6] == 1


def test_refusals_say_when_and_are_not_asked_again_at_once() -> None:
    wallet = holding(SMALL, 0)
    wallet.units, wallet.left, wallet.seen_at = 0, 0, 1000
    refusal = refused([(SMALL, 1)], [wallet], 1000, visited=True)
    assert isinstance(refusal, Refusal)
    assert refusal.wait_us == 6_000_000
    assert blocked([(SMALL, 1)], [wallet], 1000 + BLOCK_US - 1)
    assert not blocked([(SMALL, 1)], [wallet], 1000 + BLOCK_US)
    assert refused([(SMALL, 1)], [wallet], 2_001_000).wait_us == 4_000_000
