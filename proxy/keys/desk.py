"""Making, listing and revoking keys: what `POST`, `GET` and `DELETE api_keys` and the command line stand on.

It owns the rules (20 a minute, 500 at once) and Venice's shapes; the rows are `proxy.ledger.keyrows`', the copy that is
asked for every call is `directory`'s. A key's text leaves here once, in `Created`, and is nowhere else.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from proxy.errors import BadRequest, Conflict, RateExceeded
from proxy.keys import expiry
from proxy.keys.directory import Directory, now_us
from proxy.keys.format import mac, mint
from proxy.ledger.keyrows import KeyRow, KeyRows, TooManyKeys, TooManyNewKeys
from proxy.ledger.row import timestamp
from proxy.wire.keys import DESCRIPTION_MAX

PER_MINUTE = 20
ACTIVE = 500
CURRENCIES = ("usd", "diem", "vcu")


class Wish(msgspec.Struct, frozen=True):
    """A key to be made. Limits are a day's, in whole units of their currency; None is without."""

    admin: bool = False
    description: str = ""
    expires_at: str | None = None
    usd: float | None = None
    diem: float | None = None
    vcu: float | None = None
    tier: str = "default"
    models: Sequence[str] | None = None


class Created(msgspec.Struct, frozen=True):
    text: str
    row: KeyRow


class KeyDesk:
    def __init__(
        self, rows: KeyRows, directory: Directory | None, pepper: bytes, clock: Callable[[], int] = now_us
    ) -> None:
        self._rows = rows
        self._directory = directory
        self._pepper = pepper
        self._clock = clock

    async def create(self, wish: Wish) -> Created:
        """Make a key; it works at once here, and within a second everywhere.

        Raises:
            BadRequest: a date or a limit that cannot be. RateExceeded: made too many a minute. Conflict: too many at once.
        """
        now = self._clock()
        self.check(wish)
        new = mint()
        row = KeyRow(
            id=new.id,
            mac=mac(self._pepper, new.text),
            last6=new.last6,
            admin=wish.admin,
            description=wish.description,
            created_us=now,
            tier=wish.tier,
            models=None if wish.models is None else msgspec.json.encode(sorted(wish.models)).decode(),
            usd_micro=_micro(wish.usd, "usd"),
            diem_micro=_micro(wish.diem, "diem"),
            vcu_micro=_micro(wish.vcu, "vcu"),
            expires_us=expiry.parse(wish.expires_at, now),
        )
        try:
            await self._rows.add(row, per_minute=PER_MINUTE, active=ACTIVE)
        except TooManyNewKeys as error:
            raise RateExceeded(
                f"No more than {PER_MINUTE} API keys can be made in a minute.", retry_after_s=error.wait_us / 1e6
            ) from None
        except TooManyKeys:
            raise Conflict(f"There are {ACTIVE} active API keys already; delete one first.") from None
        if self._directory:
            await self._directory.refresh()
        return Created(new.text, row)

    def check(self, wish: Wish) -> None:
        """Whether `create` could make it, without making it. Raises BadRequest."""
        if len(wish.description) > DESCRIPTION_MAX:
            raise BadRequest(f"description is longer than {DESCRIPTION_MAX} characters.", param="description")
        for currency in CURRENCIES:
            _micro(getattr(wish, currency), currency)
        expiry.parse(wish.expires_at, self._clock())

    async def list(self) -> list[KeyRow]:
        """Every key that is neither revoked nor expired, newest first; a use that is not written down yet is in it."""
        now = self._clock()
        used = self._directory.used if self._directory else {}
        rows = [row for row in (await self._rows.load())[1] if row.active(now)]
        return [
            msgspec.structs.replace(row, last_used_us=max(row.last_used_us or 0, used[row.id]))
            if row.id in used
            else row
            for row in rows
        ]

    async def revoke(self, key_id: str) -> bool:
        """End a key; False if there is none of this id."""
        gone = await self._rows.revoke(key_id, self._clock())
        if self._directory:
            await self._directory.refresh()
        return gone


def _micro(amount: float | None, currency: str) -> int | None:
    if amount is None:
        return None
    found = Decimal(str(amount)) * 1_000_000
    if not found.is_finite() or found < 0 or found > 10**15:
        raise BadRequest(f"Invalid consumptionLimit: {currency} must be a number from 0 on.", param="consumptionLimit")
    return int(found)


def limits(row: KeyRow) -> dict[str, float | None]:
    """`consumptionLimit(s)` as JSON: whole units, null for none."""
    micro = {"usd": row.usd_micro, "diem": row.diem_micro, "vcu": row.vcu_micro}
    return {name: None if amount is None else amount / 1e6 for name, amount in micro.items()}


def created_json(created: Created) -> dict[str, Any]:
    """The `data` of `POST api_keys`."""
    row = created.row
    return {
        "apiKey": created.text,
        "apiKeyType": "ADMIN" if row.admin else "INFERENCE",
        "consumptionLimit": limits(row),
        "description": row.description,
        "expiresAt": None if row.expires_us is None else timestamp(row.expires_us),
        "id": row.id,
    }


def listed_json(row: KeyRow, trailing: Mapping[str, str]) -> dict[str, Any]:
    """One entry of `GET api_keys`. `trailing`: what was spent in seven days, as decimal texts by currency."""
    return {
        "apiKeyType": "ADMIN" if row.admin else "INFERENCE",
        "consumptionLimits": limits(row),
        "createdAt": timestamp(row.created_us),
        "description": row.description,
        "expiresAt": None if row.expires_us is None else timestamp(row.expires_us),
        "id": row.id,
        "last6Chars": row.last6,
        "lastUsedAt": None if row.last_used_us is None else timestamp(row.last_used_us),
        "usage": {"trailingSevenDays": {name: trailing.get(name, "0") for name in CURRENCIES}},
    }
