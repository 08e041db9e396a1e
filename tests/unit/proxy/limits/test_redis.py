"""Redis slow, stopped, restarted, gone: in real time, against a server of our own."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fakes.services import Delay, Redis, free_port
from proxy.limits.redis import DEAD_US, RedisStore, Tuning
from proxy.limits.reference import Bucket, Measure
from proxy.limits.store import Grant, Refusal

QUICK = Tuning(timeout_s=0.1, grace_us=300_000)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Redis]:
    found = Redis(tmp_path)
    found.start()
    yield found
    found.kill()


@asynccontextmanager
async def member(url: str, name: str = "m0", replicas: int = 2, tuning: Tuning = QUICK) -> AsyncIterator[RedisStore]:
    store = RedisStore(url, name, replicas, tuning)
    await store.start()
    try:
        yield store
    finally:
        await store.aclose()


async def until(true: Callable[[], bool], within_s: float = 10.0) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


def run(work: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(work())  # type: ignore[arg-type]


async def admitted(store: RedisStore, bucket: Bucket, seconds: float) -> int:
    count, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        found = await store.reserve([(bucket, 1)])
        if isinstance(found, Grant):
            count += 1
        else:
            await asyncio.sleep(0.01)
    return count


def test_while_redis_is_stopped_each_lives_on_its_share(server: Redis) -> None:
    bucket = Bucket("k", "m", Measure.RPM, 1200)  # twenty a second

    async def work() -> None:
        async with member(server.url) as store:
            while isinstance(await store.reserve([(bucket, 1)]), Grant):  # use up what is there
                pass
            server.pause()
            await until(lambda: store.silent)
            count = await admitted(store, bucket, 2.0)
            # ten a second, from 0.3 s after Redis was heard last; whatever was in hand comes on top
            assert 10 <= count <= 40
            server.resume()
            await until(lambda: not store.silent)
            # twenty a second, and of what came in meanwhile the half that was not this member's to spend
            assert 30 <= await admitted(store, bucket, 2.0) <= 80

    run(work)


def test_slow_is_treated_as_stopped_and_quick_again_as_well(server: Redis) -> None:
    async def work() -> None:
        delay = Delay(server.port)
        await delay.start()
        async with member(f"redis://127.0.0.1:{delay.port}/0") as store:
            assert isinstance(await store.reserve([(Bucket("k", "m", Measure.RPM, 10), 1)]), Grant)
            delay.seconds = 0.4
            began = time.monotonic()
            found = await store.reserve([(Bucket("k", "other", Measure.RPM, 10), 1)])
            assert time.monotonic() - began < 0.5
            assert isinstance(found, Refusal)
            assert store.silent
            delay.seconds = 0.0
            await until(lambda: not store.silent)
            assert isinstance(await store.reserve([(Bucket("k", "other", Measure.RPM, 10), 1)]), Grant)
        await delay.aclose()

    run(work)


def test_a_restart_that_forgets_everything_begins_with_empty_buckets(server: Redis) -> None:
    bucket = Bucket("k", "m", Measure.RPM, 600)

    async def work() -> None:
        async with member(server.url, replicas=1) as store:
            for _ in range(50):
                assert isinstance(await store.reserve([(bucket, 1)]), Grant)
            era = store._era
            server.restart()
            await until(lambda: store._era != era)
            began = time.monotonic()
            count = await admitted(store, bucket, 1.0)
            assert count <= 10 * (time.monotonic() - began + 1.5)  # what came in since, not the brim

    run(work)


def test_a_server_that_keeps_its_data_may_be_trusted(tmp_path: Path) -> None:
    server = Redis(tmp_path, persist=True)
    server.start()
    bucket = Bucket("k", "m", Measure.RPD, 600)

    async def work() -> None:
        async with member(server.url, replicas=1, tuning=Tuning(grace_us=300_000, trust_persistence=True)) as store:
            for _ in range(50):
                assert isinstance(await store.reserve([(bucket, 1)]), Grant)
            await store.flush()
            server.restart()
            calls = store.calls
            await until(lambda: store.calls > calls + 2 and not store.silent)
            # a day's bucket would not have come back by itself in this second
            assert isinstance(await store.reserve([(bucket, 540)]), Grant)
            assert isinstance(await store.reserve([(bucket, 20)]), Refusal)

    try:
        run(work)
    finally:
        server.kill()


def test_slots_survive_a_restart_because_their_owners_say_so(server: Redis) -> None:
    slots = Bucket("k", "m", Measure.CONCURRENT, 2)

    async def work() -> None:
        async with member(server.url, "m0") as one, member(server.url, "m1") as two:
            held = [await one.reserve([(slots, 1)]), await two.reserve([(slots, 1)])]
            assert all(isinstance(found, Grant) for found in held)
            era = one._era
            server.restart()
            await until(lambda: one._era == two._era != era)
            await one.flush()
            await two.flush()
            assert isinstance(await one.reserve([(slots, 1)]), Refusal)
            two.settle(held[1], {})  # type: ignore[arg-type]
            await two.flush()
            assert isinstance(await one.reserve([(slots, 1)]), Grant)

    run(work)


def test_a_successor_takes_over_the_slots_of_its_name(server: Redis) -> None:
    slots = Bucket("k", "m", Measure.CONCURRENT, 2)

    async def work() -> None:
        first = RedisStore(server.url, "m0", 2, QUICK)
        await first.start()
        assert isinstance(await first.reserve([(slots, 2)]), Grant)
        assert first._task is not None
        first._task.cancel()  # dead: it says nothing any more
        await asyncio.gather(first._task, return_exceptions=True)
        async with member(server.url, "m0") as second:
            assert isinstance(await second.reserve([(slots, 2)]), Grant)
        await first._redis.aclose()

    run(work)


@pytest.mark.slow
def test_slots_of_a_member_that_died_come_back_with_its_lease(server: Redis) -> None:
    slots = Bucket("k", "m", Measure.CONCURRENT, 2)

    async def work() -> None:
        first = RedisStore(server.url, "m0", 2, QUICK)
        await first.start()
        async with member(server.url, "m1") as second:
            held = await first.reserve([(slots, 2)])
            assert isinstance(held, Grant)
            assert isinstance(await second.reserve([(slots, 1)]), Refusal)
            assert first._task is not None
            first._task.cancel()  # dead, and nobody of its name follows
            await asyncio.gather(first._task, return_exceptions=True)
            died = time.monotonic()
            while not isinstance(await second.reserve([(slots, 2)]), Grant):
                assert time.monotonic() - died < DEAD_US / 1e6 + 2
                await asyncio.sleep(0.05)
            assert time.monotonic() - died > DEAD_US / 1e6 - 2, "as long as it may still live, its slots are its own"
        await first._redis.aclose()

    run(work)


def test_a_replica_that_takes_over_begins_with_empty_buckets(server: Redis, tmp_path: Path) -> None:
    """One address, behind which the first server is replaced by its replica, which may not have heard the last of it."""
    bucket, slots = Bucket("k", "m", Measure.RPM, 600), Bucket("k", "m", Measure.CONCURRENT, 2)
    replica = Redis(tmp_path)
    replica.start()

    async def work() -> None:
        await command(replica, f"REPLICAOF 127.0.0.1 {server.port}")
        for _ in range(500):
            if b"master_link_status:up" in await command(replica, "INFO replication"):
                break
            await asyncio.sleep(0.02)
        delay = Delay(server.port)
        await delay.start()
        async with member(f"redis://127.0.0.1:{delay.port}/0", replicas=1) as store:
            held = await store.reserve([(slots, 2)])
            assert isinstance(held, Grant)
            for _ in range(50):
                assert isinstance(await store.reserve([(bucket, 1)]), Grant)
            era = store._era
            server.kill()
            await until(lambda: store.silent)
            delay.to(replica.port)
            await command(replica, "REPLICAOF NO ONE")
            await until(lambda: store._era != era)
            began = time.monotonic()
            assert await admitted(store, bucket, 1.0) <= 10 * (time.monotonic() - began + 3.0)  # not the brim
            await store.flush()
            assert isinstance(await store.reserve([(slots, 1)]), Refusal), "who held them says so"
            store.settle(held, {})
            await store.flush()
            assert isinstance(await store.reserve([(slots, 2)]), Grant)
        await delay.aclose()

    try:
        run(work)
    finally:
        replica.kill()


async def command(server: Redis, line: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(line.encode() + b"\r\n")
    said = await reader.read(65536)
    writer.close()
    await writer.wait_closed()
    return said


def test_a_server_that_was_never_there(server: Redis) -> None:
    bucket = Bucket("k", "m", Measure.RPM, 6000)

    async def work() -> None:
        async with member(f"redis://127.0.0.1:{free_port()}/0") as store:
            first = await store.reserve([(bucket, 1)])
            assert isinstance(first, Refusal)
            assert first.wait_us is not None
            await asyncio.sleep(0.5)
            assert isinstance(await store.reserve([(bucket, 1)]), Grant)
            money = Bucket("k", "", Measure.BUDGET, 100, epoch="e")
            found = await store.reserve([(money, 1)])
            assert isinstance(found, Refusal)
            assert found.unreachable

    run(work)


def test_large_buckets_hardly_ask(server: Redis) -> None:
    asks = [(Bucket("k", "m", Measure.RPM, 100_000), 1), (Bucket("k", "m", Measure.TPM, 10_000_000), 50)]

    async def work() -> None:
        async with member(server.url) as store:
            granted = 0
            for number in range(3000):
                found = store.reserve_now(asks) or await store.reserve(asks)
                if isinstance(found, Grant):
                    granted += 1
                    store.settle(found, {Measure.TPM: 20})
                if number % 50 == 0:
                    await asyncio.sleep(0)
            assert granted == 3000
            assert store.calls < 0.01 * granted

    run(work)


def test_a_caller_that_goes_away_gives_back(server: Redis) -> None:
    bucket = Bucket("k", "m", Measure.TPM, 10)

    async def work() -> None:
        async with member(server.url, replicas=1) as store:
            await store.reserve([(Bucket("k", "warm", Measure.RPM, 5), 1)])
            task = asyncio.create_task(store.reserve([(bucket, 10)]))
            await asyncio.sleep(0)
            task.cancel()
            gone: Any = await asyncio.gather(task, return_exceptions=True)
            assert isinstance(gone[0], asyncio.CancelledError)
            await store.flush()
            assert isinstance(await store.reserve([(bucket, 10)]), Grant)

    run(work)


def test_what_is_in_hand_at_the_end_is_given_back(server: Redis) -> None:
    bucket = Bucket("k", "m", Measure.RPM, 2000)

    async def work() -> None:
        async with member(server.url, "m0") as one:
            assert isinstance(await one.reserve([(bucket, 1)]), Grant)
        async with member(server.url, "m1") as two:
            assert isinstance(await two.reserve([(bucket, 1999)]), Grant)

    run(work)
