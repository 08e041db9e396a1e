"""Who a key belongs to, from memory: some microseconds a check. It owns the copy and how it is kept fresh, no SQL.

Four times a second it asks the database whether any key has changed, so that a key revoked anywhere ends here within a
second. While the database does not answer, the copy stands as it is, and keys end when they were to end.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Mapping
from hashlib import blake2b

import msgspec

from proxy import log
from proxy.call import Principal
from proxy.errors import KeyInvalid
from proxy.keys.format import id_of, label, label_of, mac, same
from proxy.ledger.database import FAILURES, reason
from proxy.ledger.keyrows import KeyRow, KeyRows

POLL_S = 0.25
TOUCH_S = 5.0
RELOADS_PER_S = 10  # for ids that we do not know: a key may be a moment old
_NOBODY = bytes(32)
_log = log.get("keys")


def now_us() -> int:
    return time.time_ns() // 1000


class Entry(msgspec.Struct, frozen=True):
    row: KeyRow
    principal: Principal


class Directory:
    """A copy of all keys that were not revoked. `known` is the hot path; `look_again` is for brand-new keys."""

    def __init__(self, rows: KeyRows, pepper: bytes, clock: Callable[[], int] | None = None) -> None:
        self._rows = rows
        self._pepper = pepper
        self._clock = clock or now_us
        self._clock_ns = time.time_ns if clock is None else lambda: 1000 * clock()  # for `known`
        self._entries: dict[str, Entry] = {}
        self._by_label: dict[str, Entry] = {}  # as keys say their id
        # Keys that were proven against this very copy, by a digest of the header that brings one, behind a secret that only this
        # process has, and only for its life. So no text of a key is kept, what is compared (by a dict) tells nothing of one, and
        # since the copy and this are replaced together, a key that was revoked ends here as soon as there.
        self._proven: dict[bytes, Entry] = {}
        self._marker = blake2b(os.urandom(32), digest_size=32)  # has taken in that secret
        self._generation = -1
        self._used: dict[str, int] = {}
        self._reloads: list[float] = []
        self._task: asyncio.Task[None] | None = None

    @property
    def any(self) -> bool:
        """Whether some key can be used now."""
        now = self._clock()
        return any(entry.row.active(now) for entry in self._entries.values())

    @property
    def ever(self) -> bool:
        """Whether a key was ever made. One that was revoked, or expired, must not open what it had closed."""
        return self._generation > 0

    @property
    def used(self) -> Mapping[str, int]:
        """When keys were used here, as far as it is not written down yet: µs by id."""
        return self._used

    def row(self, key_id: str) -> KeyRow | None:
        entry = self._entries.get(key_id)
        return entry.row if entry else None

    def known(self, header: bytes) -> Principal | None:
        """Whose key an Authorization header brings, if that key was proven since it changed last; None: ask `principal`."""
        mark = self._marker.copy()
        mark.update(header)
        entry = self._proven.get(mark.digest())
        if entry is None:
            return None
        clock = self._clock_ns
        now = clock() // 1000
        row = entry.row
        if row.expires_us is not None and now >= row.expires_us:
            return None
        self._used[row.id] = now
        return entry.principal

    def principal(self, text: str) -> Principal:
        """Who this key belongs to.

        Raises:
            KeyInvalid: it is not ours, unknown, revoked or expired.
        """
        header = b"Bearer " + text.encode("utf-8", "surrogateescape")
        if (known := self.known(header)) is not None:
            return known
        entry = self._prove(text)
        mark = self._marker.copy()
        mark.update(header)
        self._proven[mark.digest()] = entry
        if (known := self.known(header)) is None:
            raise KeyInvalid("This API key has expired.")
        return known

    def _prove(self, text: str) -> Entry:
        said = label_of(text)
        entry = self._by_label.get(said) if said else None
        proven = same(mac(self._pepper, text), entry.row.mac if entry else _NOBODY)
        if entry is None or not proven or entry.row.revoked_us is not None:
            raise KeyInvalid("This API key is not valid.")
        return entry

    async def look_again(self, text: str) -> bool:
        """Look for a key of ours that is not in the copy yet, a few times a second at most; whether it was looked for."""
        key_id = id_of(text)
        if key_id is None or key_id in self._entries or not self._may_reload():
            return False
        with contextlib.suppress(*FAILURES):
            await self.refresh()
        return key_id in self._entries

    def _may_reload(self) -> bool:
        now = time.monotonic()
        self._reloads = [at for at in self._reloads if now - at < 1.0]
        if len(self._reloads) >= RELOADS_PER_S:
            return False
        self._reloads.append(now)
        return True

    async def start(self) -> None:
        """Load, and keep looking. Raises database errors: a server without its keys must not begin."""
        await self.load()
        self._task = asyncio.get_running_loop().create_task(self._watch(), name="keys-watch")

    async def load(self) -> None:
        generation, rows = await self._rows.load()
        self._entries = {row.id: Entry(row, _principal(row)) for row in rows}
        self._by_label = {label(id_): entry for id_, entry in self._entries.items()}
        self._proven = {}
        self._generation = generation

    async def refresh(self) -> None:
        """Load again if anything has changed."""
        if await self._rows.generation() != self._generation:
            await self.load()

    async def _watch(self) -> None:
        trouble, touched = "", time.monotonic()
        while True:
            await asyncio.sleep(POLL_S)
            try:
                await self.refresh()
                if time.monotonic() - touched > TOUCH_S:
                    touched = time.monotonic()
                    await self.touch()
                trouble = ""
            except FAILURES as error:
                if reason(error) != trouble:
                    trouble = reason(error)
                    _log.error("keys_cannot_be_read", why=trouble)

    async def touch(self) -> None:
        """Write down when keys were used last."""
        used, self._used = self._used, {}
        try:
            await self._rows.touch(used)
        except FAILURES:
            self._used = {**used, **self._used}
            raise

    async def aclose(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        with contextlib.suppress(*FAILURES):
            await self.touch()


def _principal(row: KeyRow) -> Principal:
    models = frozenset(msgspec.json.decode(row.models, type=list[str])) if row.models is not None else None
    return Principal(
        id=row.id,
        admin=row.admin,
        tier=row.tier,
        models=models,
        usd_micro=row.usd_micro,
        diem_micro=row.diem_micro,
        vcu_micro=row.vcu_micro,
    )
