"""The buckets of many machines, in Redis: the one room with redis. One script call serves every caller that waits.

It owns the visits, the clock of silence and the way back; `trade.lua` owns the buckets, `wallet` what is in hand here.
While Redis does not answer (two calls in a row longer than `timeout_s`) this member is *silent*: it spends what it has in
hand, then its share, limit ÷ replicas, from `GRACE_US` on; slots are passed on among its own calls, budgets wait.
It asks nobody meanwhile, only probes, and comes back when the probe is quick again.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any, NamedTuple

import msgspec
from redis import asyncio as aioredis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from proxy.limits.memory import monotonic_us
from proxy.limits.quota import Quota
from proxy.limits.reference import Bucket
from proxy.limits.share import ShareGrant, Shares
from proxy.limits.store import Ask, Grant, Refusal, Used
from proxy.limits.wallet import Batch, Wallet, blocked, end, refused, take

GRACE_US = 1_000_000  # silence before a member's share counts as its own; the script is told the same
DEAD_US = 10_000_000  # silence after which a member's slots are free again
OUT_US = 5_000_000  # how long Redis keeps a promise of a rate
IN_HAND_US = 4_000_000  # how long we trust it: less, whatever the clocks do
HEARTBEAT_S = 0.25
PROBE_S = 0.1
WELL_S = 0.05  # a probe this quick, twice, ends the silence
OPS_MAX = 64
SWEEP_AT = 20_000

_pack = msgspec.msgpack.Encoder().encode
_Answer = tuple[str, int, str, list[list[int]]]
_unpack = msgspec.msgpack.Decoder(_Answer).decode
_FAILURES = (RedisError, OSError, TimeoutError, msgspec.DecodeError)


class Tuning(NamedTuple):
    """What need not be said. `trust_persistence` lets a restarted Redis go on with what it loaded; without it a restart
    begins with empty buckets, since what it forgot may have been spent. `grace_us` is how long a member may be quiet.
    """

    space: str = "traghetto"
    timeout_s: float = 0.1
    grace_us: int = GRACE_US
    trust_persistence: bool = False


class RedisStore:
    """A LimitStore of `replicas` members. `member` names this one: a successor of the same name takes over from it.

    `now_us` replaces Redis' TIME, for tests that move the clock.
    """

    def __init__(
        self,
        url: str,
        member: str,
        replicas: int = 1,
        tuning: Tuning = Tuning(),  # noqa: B008  (immutable)
        *,
        now_us: Callable[[], int] | None = None,
    ) -> None:
        retry = Retry(NoBackoff(), 0)
        self._redis: Any = aioredis.Redis.from_url(url, retry=retry, socket_connect_timeout=1.0, protocol=2)
        self._script: Any = self._redis.register_script(
            files("proxy.limits").joinpath("trade.lua").read_text(encoding="utf-8")
        )
        self._member = member
        self._replicas = max(1, replicas)
        self._space = "{" + tuning.space + "}:"
        self._timeout_s = tuning.timeout_s
        self._trust = tuning.trust_persistence
        self._grace_us = tuning.grace_us
        self._now_us = now_us
        self._clock = now_us or monotonic_us
        self._wallets: dict[str, Wallet] = {}
        self._reporting: dict[str, Wallet] = {}  # those with something to tell at the next visit
        self._waiting: list[tuple[Sequence[Ask], asyncio.Future[Grant | Refusal]]] = []
        self._shares = Shares(self._replicas)
        self._era = ""
        self._rejoin = False
        self._offset: int | None = None  # Redis' clock minus ours, never too large
        self._contact = self._clock()  # until when Redis may count us as heard
        self.silent = False
        self._lived_us = 0  # how long we lived on our share before Redis ever heard of us
        self._failures = 0
        self.calls = 0  # script calls, for metrics and the cost test
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    # -- LimitStore

    def quick(self, quota: Quota, tokens: int | None, purse: Ask | None) -> Grant | None:
        """Others count, too: nothing can be prepared."""
        del quota, tokens, purse
        return None

    def reserve_now(self, asks: Sequence[Ask]) -> Grant | Refusal | None:
        now = self._clock()
        wallets = self._of(asks)
        grant = take(asks, wallets, now)
        if grant is not None:
            self._note(wallets)
            return grant
        if self.silent:
            return self._shares.reserve(asks, wallets, now)
        if blocked(asks, wallets, now) or any(amount > bucket.capacity for bucket, amount in asks):
            return refused(asks, wallets, now)
        return None

    async def reserve(self, asks: Sequence[Ask]) -> Grant | Refusal:
        at_once = self.reserve_now(asks)
        if at_once is not None:
            return at_once
        future: asyncio.Future[Grant | Refusal] = asyncio.get_running_loop().create_future()
        self._waiting.append((asks, future))
        self._wake.set()
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and isinstance(future.result(), Grant):
                self.cancel(future.result())  # type: ignore[arg-type]
            raise

    def settle(self, grant: Grant, used: Used) -> None:
        self._end(grant, used)

    def cancel(self, grant: Grant) -> None:
        self._end(grant, None)

    def _end(self, grant: Grant, used: Used | None) -> None:
        if not grant.open:
            return
        grant.open = False
        now = self._clock()
        wallets = self._of(grant.asks)
        if type(grant) is ShareGrant:
            self._shares.end(grant, wallets, used, now)
            self._note([wallet for wallet in wallets if wallet.bucket.held])
            return
        few = end(grant, wallets, used, now)
        self._note(wallets)
        if few and not self.silent:
            self._wake.set()  # few slots: another member may be waiting for this one

    def peek(self, bucket: Bucket) -> int:
        wallet = self._wallets.get(bucket.name)
        return bucket.capacity if wallet is None or not wallet.seen_at else max(0, wallet.left + wallet.free)

    def seed(self, bucket: Bucket, spent: int) -> None:
        wallet = self._of([(bucket, 0)])[0]
        wallet.seed = spent
        wallet.known = True

    def seeded(self, bucket: Bucket) -> bool:
        wallet = self._wallets.get(bucket.name)
        return wallet is not None and wallet.known

    async def flush(self) -> None:
        """Report now rather than at the next heartbeat."""
        asks: Sequence[Ask] = ()
        future: asyncio.Future[Grant | Refusal] = asyncio.get_running_loop().create_future()
        self._waiting.append((asks, future))
        self._wake.set()
        await future

    async def start(self) -> None:
        """Begin to visit. Redis need not be there."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="limits-redis")

    async def aclose(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            if not self.silent:
                await self._farewell()
        for _, future in self._waiting:
            if not future.done():
                future.set_result(Refusal((), unreachable=True))
        await self._redis.aclose()

    async def _farewell(self) -> None:
        """Give back what is in hand, so that nobody has to wait for it to lapse."""
        for wallet in self._wallets.values():
            wallet.active = False
        try:
            await self._visit([])
        except _FAILURES:
            return  # it lapses

    # -- wallets

    def _of(self, asks: Sequence[Ask]) -> list[Wallet]:
        found = []
        for bucket, _ in asks:
            wallet = self._wallets.get(bucket.name)
            if wallet is None:
                if len(self._wallets) >= SWEEP_AT:
                    self._wallets = {name: w for name, w in self._wallets.items() if not w.idle}
                wallet = self._wallets[bucket.name] = Wallet(bucket)
            elif wallet.bucket is not bucket and wallet.bucket.capacity != bucket.capacity:
                wallet.bucket = bucket
            found.append(wallet)
        return found

    def _note(self, wallets: Sequence[Wallet]) -> None:
        for wallet in wallets:
            self._reporting[wallet.bucket.name] = wallet

    # -- visits

    async def _run(self) -> None:
        while True:
            if self.silent:
                await self._probe()
                continue
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            waiting, self._waiting = self._waiting[:OPS_MAX], self._waiting[OPS_MAX:]
            if self._waiting:
                self._wake.set()
            await self._serve([item for item in waiting if not item[1].done()])

    async def _serve(self, waiting: list[tuple[Sequence[Ask], asyncio.Future[Grant | Refusal]]]) -> None:
        needs: dict[str, int] = {}
        for asks, _ in waiting:
            for bucket, amount in asks:
                needs[bucket.name] = needs.get(bucket.name, 0) + amount
        wanted = []
        now = self._clock()
        for name, amount in needs.items():
            wallet = self._wallets[name]
            wanted.append((wallet, max(0, amount - (wallet.free if wallet.has(0, now) else 0))))
        while True:
            try:
                await self._visit(wanted)
                break
            except _FAILURES:
                self._failures += 1
                if self._failures >= 2:
                    self._fall_silent()
                    break
        self._answer(waiting)

    def _answer(self, waiting: list[tuple[Sequence[Ask], asyncio.Future[Grant | Refusal]]]) -> None:
        now = self._clock()
        for asks, future in waiting:
            if future.done():
                continue
            wallets = self._of(asks)
            grant = take(asks, wallets, now)
            if grant is not None:
                self._note(wallets)
                future.set_result(grant)
            elif self.silent:
                future.set_result(self._shares.reserve(asks, wallets, now))
            elif not all(w.known for w in wallets):
                future.set_result(Refusal((), unreachable=True))
            else:
                future.set_result(refused(asks, wallets, now, visited=True))

    async def _visit(self, wanted: Sequence[tuple[Wallet, int]]) -> None:
        """One script call: report, wish, and put what was granted into the wallets. Again at once in a new era.

        Raises:
            one of _FAILURES: nothing is known about what happened; saying it all again does no harm.
        """
        for _ in range(3):
            trip = self._pack_up(wanted)
            sent = self._clock()
            late = 0 if self._offset is None else sent + self._offset + int(self._timeout_s * 1e6)
            question = {
                "me": self._member,
                "n": self._replicas,
                "now": self._now_us() if self._now_us else 0,
                "late": 0 if self._now_us else late,
                "lived": self._lived_us,
                "era": self._era,
                "rejoin": self._rejoin,
                "trust": self._trust,
                "grace_us": self._grace_us,
                "dead_us": DEAD_US,
                "out_us": OUT_US,
                "ops": [op for _, op, _ in trip],
            }
            keys = [self._space + "house", *(self._space + wallet.bucket.name for wallet, _, _ in trip)]
            try:
                self.calls += 1
                # a first visit may load the script and open a connection: it has no share to overlap with yet
                patience = self._timeout_s if self._offset is not None else 1.0
                reply = await asyncio.wait_for(self._script(keys=keys, args=[_pack(question)]), patience)
                status, redis_now, era, answers = _unpack(reply)
            except BaseException:
                self._contact = max(self._contact, self._clock())  # it may have been heard until now
                for wallet, _, batch in trip:
                    batch.void = True
                    wallet.active = True
                self._note([wallet for wallet, _, _ in trip])
                raise
            received = self._clock()
            # each answer gives a lower bound of the difference of the clocks; the best one wears off, as clocks drift
            worn = redis_now - received if self._offset is None else self._offset - 1000
            self._offset = max(redis_now - received, worn)
            self._contact = received
            self._failures = 0
            if status == "late":
                self._note([wallet for wallet, _, _ in trip])
                raise TimeoutError("the question came too late")
            if status == "era":
                for _, _, batch in trip:
                    batch.void = True
                self._new_era(era)
                continue
            self._era, self._rejoin, self._lived_us = era, False, 0
            self._unpack_all(trip, answers, sent, received)
            return
        raise TimeoutError("the era changes faster than we can follow")

    def _pack_up(self, wanted: Sequence[tuple[Wallet, int]]) -> list[tuple[Wallet, list[object], Batch]]:
        chosen: dict[str, tuple[Wallet, int | None]] = {w.bucket.name: (w, need) for w, need in wanted}
        for name in list(self._reporting):
            if len(chosen) >= OPS_MAX and not self._rejoin:
                break
            wallet = self._reporting.pop(name)
            chosen.setdefault(name, (wallet, None))
        trip = []
        now = self._clock()
        for wallet, need in chosen.values():
            wallet.has(0, now)  # drops what has lapsed
            trip.append((wallet, wallet.op(need), wallet.batch))
            wallet.batch = Batch()
            if not wallet.bucket.held:
                wallet.refunds = [item for item in wallet.refunds if item[0].seq is None and not item[0].void]
            wallet.active = False
        return trip

    def _unpack_all(
        self, trip: list[tuple[Wallet, list[object], Batch]], answers: list[list[int]], sent: int, received: int
    ) -> None:
        for (wallet, op, batch), (granted, units, seq, known, kept) in zip(trip, answers, strict=True):
            bucket = wallet.bucket
            if bucket.held:
                wallet.known = bool(known)
            else:
                batch.seq = seq
                batch.void = not known and op[5] != 0  # Redis had written it off: nothing of it comes back
                lost = int(op[6]) - kept  # type: ignore[call-overload]
                wallet.free = max(0, wallet.free - lost)
            wallet.free += granted
            wallet.expires = sent + IN_HAND_US
            wallet.units = units
            wallet.left = units // bucket.q
            wallet.seen_at = received
            if wallet.free or wallet.refunds:
                self._reporting[bucket.name] = wallet  # so that what is not spent goes back

    def _new_era(self, era: str) -> None:
        self._era, self._rejoin = era, True
        for wallet in self._wallets.values():
            wallet.forget()
        self._reporting = {name: w for name, w in self._wallets.items() if w.held}

    # -- silence

    def _fall_silent(self) -> None:
        self.silent = True
        self._shares.begin(self._contact + self._grace_us)
        for asks, future in self._waiting:
            if not future.done():
                future.set_result(self._shares.reserve(asks, self._of(asks), self._clock()))
        self._waiting.clear()

    async def _probe(self) -> None:
        quick = 0
        while quick < 2:
            await asyncio.sleep(PROBE_S)
            began = time.monotonic()
            try:
                await asyncio.wait_for(self._redis.ping(), 1.0)
            except _FAILURES:
                quick = 0
                continue
            quick = quick + 1 if time.monotonic() - began < WELL_S else 0
        if not self._era:
            self._lived_us = max(1, self._clock() - self._shares.since)
        self.silent = False  # from here on the share is not spent: what Redis hears next ends our silence
        self._failures = 1  # one failure, and we are silent again
        await self._serve([])
