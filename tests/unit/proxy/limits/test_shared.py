"""The buckets of one machine: what the common suite does not ask."""

import asyncio
from pathlib import Path

from proxy.limits.reference import Bucket, Measure
from proxy.limits.shared import SharedStore
from proxy.limits.store import Grant, Refusal


def close(*stores: SharedStore) -> None:
    for store in stores:
        asyncio.run(store.aclose())


def test_slots_of_a_dead_worker_come_back_when_somebody_is_short(tmp_path: Path) -> None:
    one, two = SharedStore(tmp_path / "l", records=64), SharedStore(tmp_path / "l", records=64)
    slots = Bucket("k", "m", Measure.CONCURRENT, 2)
    assert isinstance(one.reserve_now([(slots, 2)]), Grant)
    assert isinstance(two.reserve_now([(slots, 1)]), Refusal)
    close(one)
    assert isinstance(two.reserve_now([(slots, 2)]), Grant)
    close(two)


def test_a_successor_does_not_inherit_the_slots_of_the_dead(tmp_path: Path) -> None:
    first = SharedStore(tmp_path / "l", records=64)
    slots = Bucket("k", "m", Measure.CONCURRENT, 3)
    first.reserve_now([(slots, 3)])
    close(first)
    second = SharedStore(tmp_path / "l", records=64)
    assert second.peek(slots) == 3
    close(second)


def test_a_locked_file_refuses_as_unreachable(tmp_path: Path) -> None:
    one, two = SharedStore(tmp_path / "l", records=64), SharedStore(tmp_path / "l", records=64)
    with one._file:
        refusal = two.reserve_now([(Bucket("k", "m", Measure.RPM, 3), 1)])
    assert isinstance(refusal, Refusal)
    assert refusal.unreachable
    close(one, two)


def test_a_crowd_of_buckets_refuses_rather_than_forgets(tmp_path: Path) -> None:
    now = [1000]
    store = SharedStore(tmp_path / "l", lambda: now[0], records=64)
    taken = 0
    while isinstance(store.reserve_now([(Bucket(f"k{taken}", "m", Measure.RPM, 60), 1)]), Grant):
        taken += 1
    assert taken >= 32
    first = Bucket("k0", "m", Measure.RPM, 60)
    assert store.peek(first) == 59
    now[0] += 1_000_000  # all are full again: their places may be used
    assert isinstance(store.reserve_now([(Bucket("new", "m", Measure.RPM, 60), 1)]), Grant)
    close(store)


def test_a_refund_to_a_bucket_that_lost_its_place_meanwhile_gives_nothing(tmp_path: Path) -> None:
    now = [1000]
    store = SharedStore(tmp_path / "l", lambda: now[0], records=64)
    bucket = Bucket("k", "m", Measure.TPM, 60)
    grant = store.reserve_now([(bucket, 60)])
    assert isinstance(grant, Grant)
    now[0] += 60_000_000
    crowd = 0
    while isinstance(store.reserve_now([(Bucket(f"c{crowd}", "m", Measure.RPM, 60), 1)]), Grant):
        crowd += 1
    now[0] += 1_000_000
    store.reserve_now([(bucket, 60)])
    store.cancel(grant)
    assert isinstance(store.reserve_now([(bucket, 1)]), Refusal)
    close(store)


def test_what_ends_while_the_file_is_locked_is_given_back_later(tmp_path: Path) -> None:
    one, two = SharedStore(tmp_path / "l", records=64), SharedStore(tmp_path / "l", records=64)
    slots = Bucket("k", "m", Measure.CONCURRENT, 2)
    grants = [one.reserve_now([(slots, 1)]) for _ in range(2)]
    assert all(isinstance(grant, Grant) for grant in grants)
    with two._file:
        one.settle(grants[0], {})  # type: ignore[arg-type]
    assert two.peek(slots) == 0
    one.settle(grants[1], {})  # type: ignore[arg-type]
    assert two.peek(slots) == 2
    close(one, two)
