"""How a member decides alone while Redis is silent: each rate by its n-th part, slots and budgets by what is in hand.

It knows no Redis and no time of its own. The script counts the same parts as spent from the same moment on, so that all
members together, those that are heard and those that are not, stay within the limit.
"""

from collections.abc import Sequence

from proxy.limits.reference import Bucket, Level, Measure, debit, refill, settle, share, wait_us
from proxy.limits.store import CONCURRENT_WAIT_US, Ask, Grant, Refusal, Shortfall, Used, final
from proxy.limits.wallet import Wallet, give_back


class ShareMark:
    """Where a Grant of a silence came from: which level, and the debit's number there."""

    __slots__ = ("level", "seq")

    def __init__(self, level: Level, seq: int) -> None:
        self.level = level
        self.seq = seq


class ShareGrant(Grant):
    """A Grant of which something came from a part."""


class Shares:
    """One member's parts. They are empty when a silence begins, and gone when it ends."""

    def __init__(self, replicas: int) -> None:
        self._replicas = replicas
        self._parts: dict[str, tuple[Bucket, Level]] = {}
        self.since = 0

    def begin(self, since: int) -> None:
        """A silence: parts fill from `since` on (µs)."""
        self._parts.clear()
        self.since = since

    def _part(self, bucket: Bucket, now: int) -> tuple[Bucket, Level]:
        found = self._parts.get(bucket.name)
        if found is None:
            part = share(bucket, self._replicas)
            found = self._parts[bucket.name] = (part, Level(0, self.since, part.q))
        refill(found[0], found[1], now)
        return found

    def reserve(self, asks: Sequence[Ask], wallets: Sequence[Wallet], now: int) -> Grant | Refusal:
        short: list[Shortfall] = []
        for (bucket, amount), wallet in zip(asks, wallets, strict=True):
            if bucket.held:
                if not wallet.known or (bucket.measure is Measure.BUDGET and wallet.free < amount):
                    return Refusal((), unreachable=True)
                if wallet.free < amount:
                    short.append(Shortfall(bucket, amount, wallet.free, CONCURRENT_WAIT_US))
                continue
            part, level = self._part(bucket, now)
            wait = wait_us(part, level, amount)
            if wait != 0:
                short.append(Shortfall(bucket, amount, level.level // part.q, wait))
        if short:
            return Refusal(short)
        marks: list[object] = []
        left: list[int] = []
        for (bucket, amount), wallet in zip(asks, wallets, strict=True):
            if bucket.held:
                wallet.free -= amount
                wallet.held += amount
                marks.append(wallet.batch)
                left.append(wallet.free)
            else:
                part, level = self._part(bucket, now)
                marks.append(ShareMark(level, debit(part, level, amount, now)))
                left.append(level.level // part.q)
        parted = any(isinstance(mark, ShareMark) for mark in marks)
        return (ShareGrant if parted else Grant)(asks, marks, left)

    def end(self, grant: Grant, wallets: Sequence[Wallet], used: Used | None, now: int) -> None:
        for (bucket, reserved), wallet, mark in zip(grant.asks, wallets, grant.marks, strict=True):
            spent = final(bucket, reserved, used)
            if bucket.held:
                give_back(wallet, mark, reserved, spent, now)
            elif spent != reserved:
                found = self._parts.get(bucket.name)
                if found is not None and found[1] is mark.level:  # of this silence
                    settle(found[0], found[1], mark.seq, reserved, spent, now)
