"""One suite over the three stores: never more than capacity + refill in any window, nothing lost, `wait_us` exact.

The witness knows no arithmetic of ours: it writes down who was admitted when, and counts every window in fractions.
"""

import asyncio
import itertools
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fakes.services import Redis
from proxy.limits.memory import MemoryStore
from proxy.limits.quota import Quota
from proxy.limits.redis import RedisStore, Tuning
from proxy.limits.reference import MINUTE_US, Bucket, Measure
from proxy.limits.shared import SharedStore
from proxy.limits.store import Grant, LimitStore, Refusal

QUICK = settings(max_examples=120, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck))
FEW = settings(QUICK, max_examples=60)
FOREVER = 1 << 50  # a clock that jumps must not look like a member that is silent
START = 1_700_000_000_000_000


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        return self.now


class Witness:
    """Admissions by bucket: [time, reserved or, once settled, used]."""

    def __init__(self) -> None:
        self.rates: dict[str, tuple[Bucket, list[list[int]]]] = {}
        self.slots: dict[str, int] = {}
        self.spent: dict[str, int] = {}

    def admitted(self, asks: list[tuple[Bucket, int]], now: int) -> list[list[int]]:
        notes = []
        for bucket, amount in asks:
            note = [now, amount]
            notes.append(note)
            if bucket.held:
                self.slots[bucket.name] = self.slots.get(bucket.name, 0) + amount
                assert self.slots[bucket.name] + self.spent.get(bucket.name, 0) <= bucket.capacity, bucket
            else:
                self.rates.setdefault(bucket.name, (bucket, []))[1].append(note)
        return notes

    def ended(self, asks: list[tuple[Bucket, int]], notes: list[list[int]], used: dict[Measure, int] | None) -> None:
        for (bucket, amount), note in zip(asks, notes, strict=True):
            if bucket.held:
                self.slots[bucket.name] -= amount
                if bucket.measure is Measure.BUDGET and used is not None:
                    self.spent[bucket.name] = self.spent.get(bucket.name, 0) + used.get(bucket.measure, amount)
            else:
                final = 0 if used is None else used.get(bucket.measure, amount)
                note[1] = min(amount, final)

    def check(self) -> None:
        for bucket, notes in self.rates.values():
            for first in range(len(notes)):
                total = 0
                for time, amount in notes[first:]:
                    total += amount
                    span = time - notes[first][0]
                    # in fractions of the period, so that nothing is rounded
                    assert total * bucket.period_us <= bucket.capacity * (bucket.period_us + span), (bucket, notes)


class Machine(RuleBasedStateMachine):
    """Callers of one or two members of a store, with their own clock. `make` gives a member."""

    members: ClassVar[int] = 2
    exact: ClassVar[bool] = True  # whether `wait_us` is exact to the µs

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.witness = Witness()
        self.stores: list[LimitStore] = []
        self.running: list[tuple[LimitStore, Grant, list[tuple[Bucket, int]], list[list[int]]]] = []
        self.buckets: list[Bucket] = []
        self.quotas: dict[tuple[Measure, ...], Quota] = {}

    def make(self, index: int) -> LimitStore:
        raise NotImplementedError

    def wait(self, awaitable: Any) -> Any:
        return asyncio.run(awaitable)

    def settled(self) -> None:
        """Let what was settled be known everywhere."""

    @initialize(
        rpm=st.integers(1, 12),
        rpd=st.sampled_from([3, 50, 1_000_003]),
        tpm=st.integers(1, 2000),
        slots=st.integers(1, 4),
    )
    def open(self, rpm: int, rpd: int, tpm: int, slots: int) -> None:
        self.stores = [self.make(index) for index in range(self.members)]
        self.buckets = [
            Bucket("key", "model", Measure.RPM, rpm),
            Bucket("key", "model", Measure.RPD, rpd),
            Bucket("key", "model", Measure.TPM, tpm),
            Bucket("key", "model", Measure.CONCURRENT, slots),
            Bucket("key", "", Measure.BUDGET, 500, epoch="2026-11-21"),
        ]
        for store in self.stores:
            store.seed(self.buckets[4], 0)

    def reserve(self, store: LimitStore, asks: list[tuple[Bucket, int]]) -> Grant | Refusal:
        """As the gate does: in one look if that can be, else bucket by bucket."""
        found: Grant | Refusal | None = self.quick(store, asks) or store.reserve_now(asks)
        result: Grant | Refusal = self.wait(store.reserve(asks)) if found is None else found
        if isinstance(result, Grant):
            notes = self.witness.admitted(asks, self.clock.now)
            self.running.append((store, result, asks, notes))
        return result

    def quick(self, store: LimitStore, asks: list[tuple[Bucket, int]]) -> Grant | None:
        """What a call can ask for: one of each, some tokens, some money."""
        buckets = [bucket for bucket, _ in asks if bucket.measure is not Measure.BUDGET]
        amounts = {bucket.measure: amount for bucket, amount in asks}
        if any(amounts.get(measure, 1) != 1 for measure in (Measure.RPM, Measure.RPD, Measure.CONCURRENT)):
            return None
        quota = self.quotas.setdefault(tuple(bucket.measure for bucket in buckets), Quota(buckets))
        purse = next((ask for ask in asks if ask[0].measure is Measure.BUDGET), None)
        return store.quick(quota, amounts.get(Measure.TPM), purse)

    @rule(
        who=st.integers(0, 1),
        chosen=st.sets(st.integers(0, 4), min_size=1),
        percent=st.integers(0, 110),
        money=st.integers(0, 200),
    )
    def ask(self, who: int, chosen: set[int], percent: int, money: int) -> None:
        amounts = {2: self.buckets[2].capacity * percent // 100, 4: money}
        asks = [(self.buckets[index], amounts.get(index, 1)) for index in sorted(chosen)]
        store = self.stores[who % len(self.stores)]
        result = self.reserve(store, asks)
        if isinstance(result, Refusal):
            assert result.short
            assert not result.unreachable
            for item in result.short:
                assert item.have < item.need
            if self.exact and all(not bucket.held for bucket, _ in asks) and result.wait_us:
                self.comes_back(store, asks, result.wait_us)

    @rule(who=st.integers(0, 1), index=st.sampled_from([0, 2]))
    def drain(self, who: int, index: int) -> None:
        """Take all that is there: what should not be there then shows."""
        store = self.stores[who % len(self.stores)]
        self.settled()
        left = store.peek(self.buckets[index])
        if left > 0:
            self.reserve(store, [(self.buckets[index], left)])
            self.reserve(store, [(self.buckets[index], 1)])

    def comes_back(self, store: LimitStore, asks: list[tuple[Bucket, int]], wait_us: int) -> None:
        """One µs too early fails, at the time said it passes."""
        self.clock.now += wait_us - 1
        assert isinstance(self.reserve(store, asks), Refusal)
        self.clock.now += 1
        assert isinstance(self.reserve(store, asks), Grant)

    @precondition(lambda self: self.running)
    @rule(index=st.integers(0, 1000), percent=st.sampled_from([0, 10, 90, 100, 130]), money=st.integers(0, 200))
    def settle(self, index: int, percent: int, money: int) -> None:
        store, grant, asks, notes = self.running.pop(index % len(self.running))
        reserved = {bucket.measure: amount for bucket, amount in asks}
        used = {
            Measure.TPM: reserved.get(Measure.TPM, 0) * percent // 100,
            Measure.BUDGET: min(money, reserved.get(Measure.BUDGET, 0)),
        }
        store.settle(grant, used)
        self.witness.ended(asks, notes, used)
        store.settle(grant, {})  # a second time changes nothing
        store.cancel(grant)

    @precondition(lambda self: self.running)
    @rule(index=st.integers(0, 1000))
    def cancel(self, index: int) -> None:
        store, grant, asks, notes = self.running.pop(index % len(self.running))
        store.cancel(grant)
        self.witness.ended(asks, notes, None)

    @rule(us=st.one_of(st.integers(0, MINUTE_US), st.sampled_from([MINUTE_US, 10 * MINUTE_US, 1])))
    def pass_time(self, us: int) -> None:
        self.settled()
        self.clock.now += us

    @invariant()
    def never_exceeded(self) -> None:
        self.witness.check()

    def teardown(self) -> None:
        for store in self.stores:
            self.wait(store.aclose())


class InMemory(Machine):
    members = 1

    def make(self, index: int) -> LimitStore:
        return MemoryStore(self.clock)


class OnOneMachine(Machine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.made = itertools.count(2)

    def make(self, index: int) -> LimitStore:
        return SharedStore(Path(self.folder.name) / "limits", self.clock, records=64)

    @rule(who=st.integers(0, 1))
    def dies(self, who: int) -> None:
        """What it held comes back at once; what it took of rates stays spent."""
        dead = self.stores[who]
        self.wait(dead.aclose())  # as the kernel does: locks go, nothing is given back
        for store, _, asks, _ in [item for item in self.running if item[0] is dead]:
            for bucket, amount in asks:
                if bucket.held:
                    self.witness.slots[bucket.name] -= amount
            assert store is dead
        self.running = [item for item in self.running if item[0] is not dead]
        self.stores[who] = self.make(next(self.made))
        slots = self.buckets[3]
        held = self.witness.slots.get(slots.name, 0)
        for _ in range(slots.capacity - held):
            assert isinstance(self.reserve(self.stores[who], [(slots, 1)]), Grant)

    def teardown(self) -> None:
        super().teardown()
        self.folder.cleanup()


class OverRedis(Machine):
    server: ClassVar[Redis]
    stores: list[RedisStore]  # type: ignore[assignment]
    spaces = itertools.count()
    exact = False  # it is, but another member may hold what this one is told to wait for

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.space = f"t{next(self.spaces)}"

    def wait(self, awaitable: Any) -> Any:
        return self.loop.run_until_complete(awaitable)

    def settled(self) -> None:
        for store in self.stores:
            self.wait(store.flush())

    def make(self, index: int) -> RedisStore:
        store = RedisStore(self.server.url, f"m{index}", 2, Tuning(self.space, 5.0, FOREVER), now_us=self.clock)
        self.wait(store.start())
        return store

    def teardown(self) -> None:
        super().teardown()
        self.loop.close()


def test_in_memory() -> None:
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(InMemory, settings=QUICK)


def test_on_one_machine() -> None:
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(OnOneMachine, settings=FEW)


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    server = Redis(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


def test_over_redis(redis_server: Redis) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    OverRedis.server = redis_server
    run_state_machine_as_test(OverRedis, settings=FEW)


@pytest.fixture(params=["memory", "shared", "redis"])
def caller(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator["Caller"]:
    """One member of each store, with its clock."""
    clock = Clock()
    if request.param == "memory":
        store: Any = MemoryStore(clock)
    elif request.param == "shared":
        store = SharedStore(tmp_path / "limits", clock, records=64)
    else:
        server = request.getfixturevalue("redis_server")
        space = f"d{next(OverRedis.spaces)}"
        store = RedisStore(server.url, "m", 1, Tuning(space, 5.0, FOREVER), now_us=clock)
    found = Caller(store, clock)
    yield found
    found.close()


class Caller:
    def __init__(self, store: Any, clock: Clock) -> None:
        self.store = store
        self.clock = clock
        self.loop = asyncio.new_event_loop()
        self.loop.run_until_complete(store.start())

    def reserve(self, *asks: tuple[Bucket, int]) -> Grant | Refusal:
        found = self.store.reserve_now(asks)
        return self.loop.run_until_complete(self.store.reserve(asks)) if found is None else found

    def granted(self, *asks: tuple[Bucket, int]) -> Grant:
        found = self.reserve(*asks)
        assert isinstance(found, Grant)
        return found

    def most(self, bucket: Bucket) -> int:
        """How much passes now, by trying from above; nothing is kept."""
        for amount in range(bucket.capacity, 0, -1):
            found = self.reserve((bucket, amount))
            if isinstance(found, Grant):
                self.store.cancel(found)
                return amount
        return 0

    def after(self, us: int) -> None:
        if isinstance(self.store, RedisStore):
            self.loop.run_until_complete(self.store.flush())
        self.clock.now += us

    def close(self) -> None:
        self.loop.run_until_complete(self.store.aclose())
        self.loop.close()


def tokens(capacity: int) -> Bucket:
    return Bucket("key", "model", Measure.TPM, capacity)


def test_what_a_call_did_not_use_comes_back(caller: Caller) -> None:
    bucket = tokens(1000)
    grant = caller.granted((bucket, 900))
    assert isinstance(caller.reserve((bucket, 101)), Refusal)
    caller.store.settle(grant, {Measure.TPM: 50})
    caller.granted((bucket, 950))
    assert isinstance(caller.reserve((bucket, 1)), Refusal)


def test_a_refund_is_not_given_twice_by_the_refill(caller: Caller) -> None:
    """Ten tokens a minute. Two callers take five each, half a minute passes, a third takes the five that came back.
    Then the first two turn out to have used nothing. Had they not asked, the bucket had been full all along, and
    the third would have left five: so ten are too many."""
    bucket = tokens(10)
    first, second = caller.granted((bucket, 5)), caller.granted((bucket, 5))
    caller.after(MINUTE_US // 2)
    caller.granted((bucket, 5))
    caller.after(0)
    caller.store.cancel(first)
    caller.granted((bucket, 5))
    caller.after(0)
    caller.store.cancel(second)
    assert isinstance(caller.reserve((bucket, 1)), Refusal)


def test_what_was_used_beyond_the_reservation_is_a_debt(caller: Caller) -> None:
    bucket = tokens(60)
    caller.store.settle(caller.granted((bucket, 60)), {Measure.TPM: 90})
    refusal = caller.reserve((bucket, 1))
    assert isinstance(refusal, Refusal)
    assert refusal.wait_us == 31_000_000
    caller.after(31_000_000 - 1)
    assert isinstance(caller.reserve((bucket, 1)), Refusal)
    caller.after(1)
    caller.granted((bucket, 1))


def test_all_buckets_or_none(caller: Caller) -> None:
    requests, slots = Bucket("key", "model", Measure.RPM, 5), Bucket("key", "model", Measure.CONCURRENT, 1)
    caller.granted((requests, 1), (slots, 1))
    for _ in range(3):
        refusal = caller.reserve((requests, 1), (slots, 1))
        assert isinstance(refusal, Refusal)
        assert [item.bucket.measure for item in refusal.short] == [Measure.CONCURRENT]
    for _ in range(4):
        caller.granted((requests, 1))
    assert isinstance(caller.reserve((requests, 1)), Refusal)


def test_waiting_as_long_as_was_said_is_enough_for_all_buckets(caller: Caller) -> None:
    minute, day = Bucket("key", "model", Measure.RPM, 3), Bucket("key", "model", Measure.RPD, 4)
    for _ in range(3):
        caller.granted((minute, 1), (day, 1))
    caller.after(20_000_000)
    caller.granted((minute, 1), (day, 1))
    refusal = caller.reserve((minute, 1), (day, 1))
    assert isinstance(refusal, Refusal)
    assert refusal.worst is not None
    assert refusal.worst.bucket is day
    assert refusal.wait_us is not None
    caller.after(refusal.wait_us - 1)
    assert isinstance(caller.reserve((minute, 1), (day, 1)), Refusal)
    caller.after(1)
    caller.granted((minute, 1), (day, 1))


def test_more_than_a_bucket_ever_holds_never_passes(caller: Caller) -> None:
    refusal = caller.reserve((tokens(10), 11))
    assert isinstance(refusal, Refusal)
    assert refusal.wait_us is None


def test_a_limit_of_nothing_refuses_for_good(caller: Caller) -> None:
    refusal = caller.reserve((Bucket("key", "model", Measure.RPM, 0), 1))
    assert isinstance(refusal, Refusal)
    assert refusal.wait_us is None


def test_a_smaller_limit_after_a_reload_goes_on_where_the_old_one_was(caller: Caller) -> None:
    caller.granted((Bucket("key", "model", Measure.RPM, 100), 80))
    caller.after(1000)
    smaller = Bucket("key", "model", Measure.RPM, 10)
    assert isinstance(caller.reserve((smaller, 11)), Refusal)
    caller.granted((smaller, 10))
    caller.after(0)
    assert isinstance(caller.reserve((Bucket("key", "model", Measure.RPM, 100), 1)), Refusal)


def test_a_budget_keeps_what_was_spent_and_gives_back_the_rest(caller: Caller) -> None:
    budget = Bucket("key", "", Measure.BUDGET, 1000, epoch="2026-11-21")
    assert not caller.store.seeded(budget)
    unknown = caller.reserve((budget, 1))
    assert isinstance(unknown, Refusal)
    assert unknown.unreachable
    caller.store.seed(budget, 300)
    grant = caller.granted((budget, 600))
    assert isinstance(caller.reserve((budget, 101)), Refusal)
    caller.store.settle(grant, {Measure.BUDGET: 200})
    caller.after(10 * MINUTE_US)
    refusal = caller.reserve((budget, 501))
    assert isinstance(refusal, Refusal)
    assert refusal.wait_us is None
    caller.granted((budget, 500))


def test_remaining_says_what_a_header_says(caller: Caller) -> None:
    bucket = Bucket("key", "model", Measure.RPM, 60)
    grant = caller.granted((bucket, 1))
    limit, left, reset_us = grant.remaining(Measure.RPM) or (0, 0, 0)
    assert (limit, left) == (60, 59)
    assert reset_us == 1_000_000
    assert grant.remaining(Measure.TPM) is None


@pytest.mark.slow
@pytest.mark.parametrize("store", ["memory", "shared", "redis"])
def test_a_minute_of_kills_and_a_troubled_redis(store: str, request: pytest.FixtureRequest) -> None:
    """Four processes of 64 clients; the script says what it saw, and whether a limit was exceeded."""
    if store == "redis":
        request.getfixturevalue("redis_server")  # or skip
    script = Path(__file__).parents[1] / "bench" / "limits_soak.py"
    done = subprocess.run([sys.executable, str(script), "--store", store], capture_output=True, text=True, check=False)
    print(done.stdout)  # noqa: T201
    assert done.returncode == 0, done.stdout + done.stderr
