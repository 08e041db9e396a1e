"""Are limits ever exceeded? Processes × clients against one store, with random kill -9 and, for Redis, every kind of trouble.

    python tests/bench/limits_soak.py --store shared --seconds 60

Each process writes down, by one clock, when it was granted what and when it gave it back. Afterwards the writings are put
together and replayed through an ideal bucket: a level below nothing anywhere is a window with too much in it. It prints a
table and ends with 1 if a limit was exceeded, or if less than 98 % was admitted in the quiet stretches after trouble.
"""

import argparse
import asyncio
import os
import random
import signal
import struct
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

from fakes.services import Delay, Redis  # noqa: E402
from proxy.limits.memory import MemoryStore, monotonic_us  # noqa: E402
from proxy.limits.redis import RedisStore  # noqa: E402
from proxy.limits.reference import Bucket, Measure  # noqa: E402
from proxy.limits.shared import SharedStore  # noqa: E402
from proxy.limits.store import Grant, LimitStore  # noqa: E402

NOTE = struct.Struct("<BQQI")  # bucket, grant's number, µs, amount; a bucket + 100 is the end of it
CALM_S = 2.5  # after trouble, before the rate counts as undisturbed


def buckets(large: bool) -> list[Bucket]:
    rpm = 100_000 if large else 900
    return [
        Bucket("soak", "model", Measure.RPM, rpm),
        Bucket("soak", "model", Measure.TPM, 200 * rpm),
        Bucket("soak", "model", Measure.CONCURRENT, 2048 if large else 96),
    ]


class Stamp:
    """The store's clock, and what it said last: the time of a grant is the one that the store went by."""

    def __init__(self) -> None:
        self.last = 0

    def __call__(self) -> int:
        self.last = monotonic_us()
        return self.last


def make(kind: str, where: str, index: int, of: int, clock: Stamp) -> LimitStore:
    if kind == "memory":
        return MemoryStore(clock)
    if kind == "shared":
        return SharedStore(Path(where), clock)
    store = RedisStore(where, f"worker{index}", of)
    store._clock = clock
    return store


async def work(arguments: argparse.Namespace) -> None:
    clock = Stamp()
    store = make(arguments.store, arguments.where, arguments.index, arguments.processes, clock)
    await store.start()
    notes = os.open(arguments.notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    calls = os.open(arguments.notes + ".calls", os.O_WRONLY | os.O_CREAT)
    bases = buckets(arguments.large)
    number = 0

    async def client(seed: int) -> None:
        nonlocal number
        chance = random.Random(seed)
        while True:
            tokens = chance.randint(50, 300)
            asks = [(bases[1], tokens)] if seed % 2 else [(bases[0], 1), (bases[2], 1)]
            if arguments.large:
                asks = [(bases[0], 1), (bases[1], tokens), (bases[2], 1)]
            result = store.reserve_now(asks)
            if result is None:
                result = await store.reserve(asks)
            if not isinstance(result, Grant):
                wait = result.wait_us or 50_000
                await asyncio.sleep(min(wait, 50_000) / 1e6 * chance.uniform(1, 1.2))
                continue
            number += 1
            mine, at = number, clock.last
            os.write(notes, b"".join(NOTE.pack(bases.index(b), mine, at, amount) for b, amount in asks))
            await asyncio.sleep(chance.uniform(0, 0.01))
            used = tokens * chance.randint(30, 100) // 100
            now = monotonic_us()
            ends = [NOTE.pack(100 + bases.index(b), mine, now, used) for b, _ in asks]
            os.write(notes, b"".join(ends))
            store.settle(result, {Measure.TPM: used})

    async def report() -> None:
        while True:
            await asyncio.sleep(0.2)
            os.pwrite(calls, str(getattr(store, "calls", 0)).encode(), 0)

    await asyncio.gather(report(), *(client(arguments.index * 1000 + i) for i in range(arguments.clients)))


class Trouble:
    """What is done to the processes and to Redis, and when it was over."""

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        self.arguments = arguments
        self.folder = folder
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        self.lives: list[tuple[str, int, int]] = []  # notes, born, killed (µs)
        self.began: dict[int, tuple[str, int]] = {}
        self.spells: list[tuple[int, int, str]] = []
        self.count = 0

    def spawn(self, index: int, where: str) -> None:
        self.count += 1
        notes = str(self.folder / f"notes{index}.{self.count}")
        given = self.arguments
        command = [sys.executable, __file__, "--store", given.store, "--where", where, "--index", str(index)]
        command += ["--notes", notes, "--clients", str(given.clients), "--processes", str(given.processes)]
        if given.large:
            command.append("--large")
        self.processes[index] = subprocess.Popen(command)
        self.began[index] = (notes, monotonic_us())

    def kill(self, index: int) -> None:
        process = self.processes.pop(index)
        process.send_signal(signal.SIGKILL)
        process.wait()
        notes, born = self.began.pop(index)
        self.lives.append((notes, born, monotonic_us()))

    def spell(self, since: int, what: str) -> None:
        self.spells.append((since, monotonic_us(), what))


async def torment(trouble: Trouble, where: str, server: Redis | None, delay: Delay | None) -> None:
    given = trouble.arguments
    for index in range(given.processes):
        trouble.spawn(index, where)
    chance = random.Random(given.seed)
    end = time.monotonic() + given.seconds
    kinds = ["kill"] if server is None else ["kill", "pause", "slow", "restart"]
    turn = 0
    await asyncio.sleep(4)
    while time.monotonic() < end - 6 and given.faults:
        since = monotonic_us()
        kind = kinds[turn % len(kinds)]
        turn += 1
        if kind == "kill":
            index = chance.randrange(given.processes)
            trouble.kill(index)
            trouble.spawn(index, where)
        elif kind == "pause" and server:
            server.pause()
            await asyncio.sleep(2)
            server.resume()
        elif kind == "slow" and delay:
            delay.seconds = 0.2
            await asyncio.sleep(2)
            delay.seconds = 0.0
        elif server:
            await asyncio.to_thread(server.restart)
        trouble.spell(since, kind)
        await asyncio.sleep(chance.uniform(4, 6))
    await asyncio.sleep(max(0.0, end - time.monotonic()))
    for index in list(trouble.processes):
        trouble.kill(index)


def read(trouble: Trouble, one: str | None = None) -> tuple[list[list[list[int]]], list[tuple[int, int]]]:
    """Grants by rate bucket as [µs, amount], and the changes of running calls as (µs, ±1)."""
    rates: list[list[list[int]]] = [[], []]
    running: list[tuple[int, int]] = []
    for notes, _, killed in trouble.lives:
        if (one is not None and notes != one) or not Path(notes).exists():
            continue
        data = Path(notes).read_bytes()
        data = data[: len(data) // NOTE.size * NOTE.size]
        open_tokens: dict[int, list[int]] = {}
        open_calls: set[int] = set()
        for kind, number, at, amount in NOTE.iter_unpack(data):
            if kind < 2:
                note = [at, amount]
                rates[kind].append(note)
                if kind == 1:
                    open_tokens[number] = note
            elif kind == 2:
                running.append((at, 1))
                open_calls.add(number)
            elif kind == 101:
                open_tokens.pop(number)[1] = amount
            elif kind == 102:
                open_calls.discard(number)
                running.append((at, -1))
        running += [(killed, -1)] * len(open_calls)
    for notes_ in rates:
        notes_.sort()
    running.sort()
    return rates, running


def replay(bucket: Bucket, grants: list[list[int]]) -> Fraction:
    """The lowest level of an ideal bucket; below nothing says by how much some window had too much."""
    level, lowest, last = Fraction(bucket.capacity), Fraction(bucket.capacity), grants[0][0] if grants else 0
    rate = Fraction(bucket.capacity, bucket.period_us)
    for at, amount in grants:
        level = min(Fraction(bucket.capacity), level + rate * (at - last)) - amount
        last = at
        lowest = min(lowest, level)
    return lowest


def admitted_in(grants: list[list[int]], begin: int, end: int) -> int:
    return sum(amount for at, amount in grants if begin <= at < end)


def calm(trouble: Trouble, begin: int, end: int) -> list[tuple[int, int]]:
    """The stretches without trouble, beginning some time after it."""
    found, since = [], begin + int(CALM_S * 1e6) * 2
    for start, over, _ in sorted(trouble.spells):
        if start > since:
            found.append((since, start))
        since = max(since, over + int(CALM_S * 1e6))
    if end > since:
        found.append((since, end))
    return found


def judge(trouble: Trouble) -> bool:
    given = trouble.arguments
    bases = buckets(given.large)
    begin = min(born for _, born, _ in trouble.lives)
    end = max(killed for _, _, killed in trouble.lives) - 200_000
    good = True
    print(f"\n{given.store}: {given.processes} processes x {given.clients} clients, {given.seconds} s")
    kinds = [what for _, _, what in trouble.spells]
    print("  trouble: " + (", ".join(f"{kinds.count(kind)} x {kind}" for kind in dict.fromkeys(kinds)) or "none"))
    print(f"  {'bucket':24}{'admitted':>12}{'lowest level':>16}{'of the refill, when calm':>28}")
    lives = [None] if given.store != "memory" else [notes for notes, _, _ in trouble.lives]
    total = 0
    for which, bucket in enumerate(bases[:2]):
        worst, count, rates = Fraction(bucket.capacity), 0, []
        for one in lives:
            grants = read(trouble, one)[0][which]
            worst = min(worst, replay(bucket, grants))
            count += sum(amount for _, amount in grants)
            rates += grants
        parts = calm(trouble, begin, end)
        due = sum(stop - start for start, stop in parts) * Fraction(bucket.capacity, bucket.period_us)
        due *= 1 if given.store != "memory" else given.processes
        share = float(sum(admitted_in(rates, *part) for part in parts) / due) if due else 1.0
        print(f"  {bucket.measure.value:24}{count:>12}{float(worst):>16.3f}{share:>27.1%}")
        good = good and worst >= 0
        if which == 0:
            total = count
            good = good and (given.large or share >= 0.98)
    most = 0
    for one in lives:
        now = 0
        for _, change in read(trouble, one)[1]:
            now += change
            most = max(most, now)
    print(f"  {'CONCURRENT (of ' + str(bases[2].capacity) + ')':24}{'':>12}{'most at once':>16}{most:>27}")
    good = good and most <= bases[2].capacity
    calls = sum(int(p.read_text() or 0) for p in trouble.folder.glob("notes*.calls"))
    if calls:
        print(f"  Redis calls per admitted request: {calls / max(total, 1):.3f}")
    print("  " + ("never exceeded" if good else "NOT GOOD"))
    return good


async def main(arguments: argparse.Namespace) -> bool:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trouble = Trouble(arguments, folder)
        server = delay = None
        where = str(folder / "limits")
        if arguments.store == "redis":
            server = Redis(folder)
            server.start()
            delay = Delay(server.port)
            await delay.start()
            where = f"redis://127.0.0.1:{delay.port}/0"
        try:
            await torment(trouble, where, server, delay)
        finally:
            for process in trouble.processes.values():
                process.kill()
            if delay:
                await delay.aclose()
            if server:
                server.kill()
        return judge(trouble)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", choices=["memory", "shared", "redis"], default="shared")
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--large", action="store_true", help="a 100,000-RPM bucket: how many Redis calls does it cost?")
    parser.add_argument("--no-faults", dest="faults", action="store_false")
    parser.add_argument("--where")
    parser.add_argument("--index", type=int)
    parser.add_argument("--notes")
    given_ = parser.parse_args()
    if given_.index is not None:
        asyncio.run(work(given_))
    else:
        sys.exit(0 if asyncio.run(main(given_)) else 1)
