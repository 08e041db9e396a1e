"""What one member has in hand."""

from proxy.limits.reference import Bucket, Measure
from proxy.limits.store import Refusal
from proxy.limits.wallet import BLOCK_US, LARGE, Wallet, blocked, end, refused, take

SMALL, BIG = Bucket("k", "m", Measure.RPM, 10), Bucket("k", "m", Measure.TPM, 100_000)
SLOTS = Bucket("k", "m", Measure.CONCURRENT, 4)


def holding(bucket: Bucket, free: int, expires: int = 100) -> Wallet:
    wallet = Wallet(bucket)
    wallet.free, wallet.expires = free, expires
    return wallet


def test_what_has_lapsed_is_not_spent() -> None:
    wallet = holding(SMALL, 3)
    assert wallet.has(3, 99)
    assert not wallet.has(1, 100)
    assert wallet.free == 0
    assert holding(SLOTS, 3, expires=0).has(3, 1 << 60)  # slots do not lapse


def test_what_was_not_reported_yet_was_never_spent() -> None:
    wallet = holding(BIG, 1000)
    grant = take([(BIG, 600)], [wallet])
    assert (wallet.free, wallet.spent) == (400, 600)
    end(grant, [wallet], {Measure.TPM: 100}, 50)
    assert (wallet.free, wallet.spent) == (900, 100)


def test_what_was_reported_is_asked_back() -> None:
    wallet = holding(BIG, 1000)
    grant = take([(BIG, 600)], [wallet])
    batch = wallet.batch
    wallet.batch = type(batch)()
    end(grant, [wallet], {Measure.TPM: 100}, 50)
    assert (wallet.free, wallet.spent) == (400, 600)
    batch.seq = 77
    assert wallet.op(None)[9] == [[77, 500]]
    wallet = holding(BIG, 1000)
    grant = take([(BIG, 600)], [wallet])
    wallet.batch.void, wallet.batch = True, type(batch)()
    end(grant, [wallet], None, 50)
    assert wallet.op(None)[9] == []  # Redis had written it off


def test_a_debt_is_told_whoever_granted_it() -> None:
    wallet = holding(BIG, 1000)
    end(take([(BIG, 600)], [wallet]), [wallet], {Measure.TPM: 900}, 50)
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
    take([(SLOTS, 1)], [wallet])
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
