"""Making, listing and revoking keys."""

import asyncio
from pathlib import Path

import pytest

from proxy.errors import BadRequest, Conflict, RateExceeded
from proxy.keys import desk
from proxy.keys.desk import KeyDesk, Wish, created_json, listed_json
from proxy.ledger.database import connect
from proxy.ledger.keyrows import KeyRow, KeyRows

PEPPER = b"p" * 32
NOW = 1_700_000_000_000_000


def test_what_is_shown_once_and_what_always(tmp_path: Path) -> None:
    async def work() -> None:
        database = await connect(f"sqlite:///{tmp_path}/t.db")
        office = KeyDesk(KeyRows(database), None, PEPPER, lambda: NOW)
        made = await office.create(
            Wish(admin=True, description="Example", expires_at="2030-01-01", usd=50, diem=0.1, models=[])
        )
        shown = created_json(made)
        assert shown == {
            "apiKey": made.text,
            "apiKeyType": "ADMIN",
            "consumptionLimit": {"usd": 50.0, "diem": 0.1, "vcu": None},
            "description": "Example",
            "expiresAt": "2030-01-01T00:00:00.000Z",
            "id": made.row.id,
        }
        (row,) = await office.list()
        assert row == made.row
        listed = listed_json(row, {"usd": "10.2424"})
        assert listed == {
            "apiKeyType": "ADMIN",
            "consumptionLimits": {"usd": 50.0, "diem": 0.1, "vcu": None},
            "createdAt": "2023-11-14T22:13:20.000Z",
            "description": "Example",
            "expiresAt": "2030-01-01T00:00:00.000Z",
            "id": made.row.id,
            "last6Chars": made.text[-6:],
            "lastUsedAt": None,
            "usage": {"trailingSevenDays": {"usd": "10.2424", "diem": "0", "vcu": "0"}},
        }
        assert made.text not in str(listed)
        assert await office.revoke(made.row.id)
        assert await office.list() == []
        await database.aclose()

    asyncio.run(work())


def test_twenty_a_minute_and_five_hundred_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "ACTIVE", 25)

    async def work() -> None:
        now = NOW
        database = await connect(f"sqlite:///{tmp_path}/t.db")
        office = KeyDesk(KeyRows(database), None, PEPPER, lambda: now)
        for _ in range(20):
            now += 1_000_000
            await office.create(Wish())
        with pytest.raises(RateExceeded) as told:
            await office.create(Wish())
        assert told.value.retry_after_s == 41  # the first is a minute old then
        now += 41_000_000
        for _ in range(5):
            await office.create(Wish())
            now += 1_000_000
        with pytest.raises(Conflict, match="25 active"):
            await office.create(Wish())
        await database.aclose()

    asyncio.run(work())


@pytest.mark.parametrize(
    "wish",
    [
        Wish(usd=-1),
        Wish(diem=float("nan")),
        Wish(vcu=float("inf")),
        Wish(usd=1e300),
        Wish(expires_at="soon"),
        Wish(description="x" * 513),
    ],
)
def test_wishes_that_cannot_be(wish: Wish) -> None:
    async def work() -> None:
        database = await connect("sqlite://")
        with pytest.raises(BadRequest) as told:
            await KeyDesk(KeyRows(database), None, PEPPER).create(wish)
        assert told.value.param
        await database.aclose()

    asyncio.run(work())


def test_expired_keys_are_not_listed() -> None:
    async def work() -> None:
        now = NOW
        database = await connect("sqlite://")
        office = KeyDesk(KeyRows(database), None, PEPPER, lambda: now)
        made = await office.create(Wish(expires_at="2023-11-15"))
        assert len(await office.list()) == 1
        now = made.row.expires_us or 0
        assert await office.list() == []
        await database.aclose()

    asyncio.run(work())


def test_limits_of_nothing_are_limits() -> None:
    row = KeyRow("id", b"", "abcdef", False, "", NOW, usd_micro=0)
    assert listed_json(row, {})["consumptionLimits"] == {"usd": 0.0, "diem": None, "vcu": None}
