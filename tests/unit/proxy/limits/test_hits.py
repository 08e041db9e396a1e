"""The log of limits that were exceeded."""

import asyncio
from collections.abc import Sequence

import pytest

from proxy.limits.hits import KEEP, Hit, HitLog
from proxy.limits.reference import Bucket, Measure
from proxy.limits.store import Refusal, Shortfall


class Rows:
    def __init__(self) -> None:
        self.hits: list[Hit] = []
        self.broken = False

    async def add(self, hits: Sequence[Hit]) -> None:
        if self.broken:
            raise OSError("gone")
        self.hits += hits

    async def last(self, count: int, key_id: str | None = None) -> list[Hit]:
        mine = [hit for hit in reversed(self.hits) if key_id in (None, hit.key_id)]
        return mine[:count]


def refusal(have: int = 0, wait_us: int | None = 700) -> Refusal:
    rpm = Bucket("k", "llama", Measure.RPM, 10, tier="paid")
    return Refusal([Shortfall(rpm, 1, have, wait_us)])


def test_an_entry_says_bucket_need_have_and_when_it_would_have_passed() -> None:
    log = HitLog(Rows(), clock=lambda: 5000)
    log.note("k", refusal())
    log.note("k", refusal(have=-3, wait_us=None), model="default")
    newest, oldest = asyncio.run(log.last("k"))
    assert (oldest.model, oldest.tier, oldest.measure) == ("llama", "paid", "RPM")
    assert (oldest.need, oldest.have, oldest.at_us, oldest.passes_us) == (1, 0, 5000, 5700)
    assert (newest.model, newest.have, newest.passes_us) == ("default", -3, None)


def test_a_flood_is_fifty_rows() -> None:
    rows = Rows()
    log = HitLog(rows)
    for _ in range(1000):
        log.note("k", refusal())
    assert len(asyncio.run(log.last())) == KEEP
    assert len(rows.hits) == KEEP


def test_what_cannot_be_written_is_written_later() -> None:
    rows = Rows()
    log = HitLog(rows)
    log.note("k", refusal())
    rows.broken = True
    with pytest.raises(OSError, match="gone"):
        asyncio.run(log.flush())
    rows.broken = False
    asyncio.run(log.flush())
    asyncio.run(log.flush())
    assert len(rows.hits) == 1
