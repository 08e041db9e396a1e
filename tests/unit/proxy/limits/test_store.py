"""What a store gives."""

from proxy.limits.reference import Bucket, Measure
from proxy.limits.store import Grant, Refusal, Shortfall, final

RPM, TPM = Bucket("k", "m", Measure.RPM, 10), Bucket("k", "m", Measure.TPM, 1000)
SLOTS = Bucket("k", "m", Measure.CONCURRENT, 2)


def test_the_longest_wait_decides_and_never_outlasts_it() -> None:
    soon, late, never = Shortfall(RPM, 1, 0, 5), Shortfall(TPM, 10, 3, 70), Shortfall(TPM, 2000, 3, None)
    assert Refusal([soon, late]).wait_us == 70
    assert Refusal([soon, late]).worst is late
    assert Refusal([soon, never]).wait_us is None
    assert Refusal([soon, never]).worst is never
    assert Refusal([], unreachable=True).wait_us == 1_000_000


def test_what_stays_spent() -> None:
    assert final(TPM, 100, {Measure.TPM: 7}) == 7
    assert final(RPM, 1, {Measure.TPM: 7}) == 1
    assert final(RPM, 1, None) == 0
    assert final(SLOTS, 1, {Measure.CONCURRENT: 1}) == 0


def test_headers_speak_of_the_tightest() -> None:
    wide = Bucket("k", "all", Measure.RPM, 100)
    grant = Grant([(wide, 1), (RPM, 1), (SLOTS, 1)], [1, 1, 0], [50, 4, 1])
    assert grant.remaining(Measure.RPM) == (10, 4, 36_000_000)
    assert grant.remaining(Measure.CONCURRENT) == (2, 1, 0)
    assert grant.remaining(Measure.RPD) is None
