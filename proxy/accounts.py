"""What calls are counted with, in one place: keys, ledger, prices, limits, budgets. It owns how they are made from `[store]`,
`[limits]` and `[tiers]`, and the order in which they start and close; it decides about no call.

Until `start` nothing is opened: limits are counted in memory and nothing is written down, which is all that a test or
`traghetto check` needs. A reload swaps `rules`; stores, ledger and keys stay.
"""

import asyncio
import contextlib
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from proxy import log
from proxy.budgets import Budgets, rates_of
from proxy.call import ANYBODY, Principal
from proxy.catalogue import Catalogue
from proxy.config import Config, Scribing
from proxy.errors import ConfigError, RateExceeded, TraghettoError, Unavailable
from proxy.keyring import Keys
from proxy.ledger.prices import PriceTable
from proxy.limits.abuse import AbuseGuard
from proxy.limits.hits import HitLog, MemoryHits
from proxy.limits.memory import MemoryStore
from proxy.limits.store import LimitStore
from proxy.ports import Keyring
from proxy.tiers import Tiers, checked

if TYPE_CHECKING:
    from proxy.ledger.books import Ledger
    from proxy.ledger.database import Database
    from proxy.limits.shared_file import SharedFile

TICK_S = 2.0  # how often hits are written down, and dead neighbours' journals looked for
WORKERS = "TRAGHETTO_WORKERS"  # of this server, where the command line says it and not the file
_log = log.get("accounts")


class Rules(msgspec.Struct, frozen=True):
    """What one snapshot says about limits and prices. `free`: upstreams on this machine, which cost nobody anything."""

    tiers: Tiers
    prices: PriceTable
    free: frozenset[str] = frozenset()


NO_RULES = Rules(Tiers({}), PriceTable({}))


def rules_of(config: Config, catalogue: Catalogue, file: str = "") -> Rules:
    """Raises ConfigError: a tier for what does not exist, a figure too large."""
    pricing = {model.id: model.pricing for model in catalogue.models.values()}
    free = frozenset(name for name, options in config.upstreams.items() if not hasattr(options, "base_url"))
    return Rules(checked(config.tiers, catalogue.models, file), PriceTable(pricing), free)


class Accounts:
    """Of one process. `ledger` and `database` are None where `store.ledger` is false, and before `start`."""

    def __init__(self, config: Config, keyring: Keyring | None = None, rules: Rules = NO_RULES) -> None:
        self._config = config
        self.rules = rules
        self.keyring: Keyring = keyring or Keys(config)
        self.database: Database | None = None
        self.ledger: Ledger | None = None
        self.store: LimitStore = MemoryStore()
        self.hits = HitLog(MemoryHits())
        self._failures: SharedFile | None = None  # everybody's, where there are several workers
        self.abuse = self._guard(config)
        self.budgets = self._budgets()
        self._task: asyncio.Task[None] | None = None

    # -- from start to end

    async def start(self) -> None:
        """Open what is configured: the database and the ledger, then the keys, then the limits.

        Raises:
            ConfigError: the database, the folder or the keys cannot be used.
        """
        try:
            await self.open()
            await self._open_limits()
        except BaseException:
            await self.aclose()
            raise
        if self.ledger is not None:
            self._task = asyncio.get_running_loop().create_task(self._ticking(), name="accounts")

    async def open(self) -> None:
        """The part of `start` that can fail: database, ledger, keys. Raises ConfigError."""
        if self._config.store.ledger:
            await self._open_books()
        await self.keyring.start()

    async def _open_books(self) -> None:
        from proxy.ledger.books import Ledger  # SQLAlchemy: not before it is needed
        from proxy.ledger.database import FAILURES, connect, patiently, reason
        from proxy.ledger.hitrows import SqlHits

        self.database = await connect(self._config.store.url)
        ledger = Ledger(self.database, self.folder, scribe=self._scribe)
        try:
            await patiently(ledger.start)
            await patiently(lambda: ledger.note_prices(self.rules.prices))
        except FAILURES as error:
            await ledger.aclose()
            raise ConfigError(
                f"the ledger in {self.database.name} cannot be kept: {reason(error)}",
                where="store.url",
                expected="a database and a folder that can be written, or store.ledger = false",
            ) from error
        self.ledger = ledger
        self.hits = HitLog(SqlHits(self.database))
        if isinstance(self.keyring, Keys):
            self.keyring.database = self.database

    async def _open_limits(self) -> None:
        store = self._config.store
        workers = self.workers
        if store.redis:
            from proxy.limits.redis import RedisStore, Tuning

            tuning = Tuning(trust_persistence=store.trust_persistence)
            member = f"{socket.gethostname()}-{os.getpid()}-{os.urandom(4).hex()}"
            self.store = RedisStore(store.redis, member, store.replicas * workers, tuning)
        elif workers > 1:
            from proxy.limits.shared import SharedStore

            try:
                await asyncio.to_thread(self.folder.mkdir, parents=True, exist_ok=True)
                self.store = SharedStore(self.folder / "limits")
            except OSError as error:
                raise ConfigError(
                    f"the folder {self.folder} cannot be used: {error.strerror or error}",
                    where="store.folder",
                    expected="a folder that can be written",
                ) from error
        if workers > 1:
            self._open_failures()
        self.budgets = self._budgets()
        await self.store.start()

    def _open_failures(self) -> None:
        from proxy.limits.shared_abuse import RECORDS
        from proxy.limits.shared_file import SharedFile

        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._failures = SharedFile(self.folder / "failures", RECORDS)
        except OSError as error:  # with Redis, and no ledger, nothing else needs this folder
            _log.warning("failures_not_shared", folder=str(self.folder), why=error.strerror or str(error))
        self.abuse = self._guard(self._config)

    async def aclose(self) -> None:
        """Close in the reverse order; rows that wait are written first."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.store.aclose()
        if self._failures is not None:
            self._failures.close()
            self._failures = None
            self.abuse = self._guard(self._config)
        await self.keyring.aclose()
        if self.ledger is not None:
            await self._flush()
            await self.ledger.aclose()
            _log.debug("ledger_closed", rows=self.ledger.written, commits=self.ledger.commits)
        if self.database is not None:
            await self.database.aclose()
        self.ledger = self.database = None

    @property
    def workers(self) -> int:
        """How many processes this server has."""
        return int(os.environ.get(WORKERS, "0")) or self._config.server.workers

    @property
    def _scribe(self) -> Scribing:
        """As configured; of itself only where it would have a core that no worker needs."""
        when = self._config.store.scribe
        return "never" if when == "auto" and cores() <= self.workers else when

    @property
    def folder(self) -> Path:
        """Where this machine keeps what is its own: beside an SQLite file, unless the configuration says where."""
        if self._config.store.folder:
            return Path(self._config.store.folder)
        scheme, _, path = self._config.store.url.partition("///")
        return Path(f"{path}.state") if scheme.startswith("sqlite") and path else Path("traghetto.state")

    # -- a new snapshot

    async def use(self, config: Config, rules: Rules) -> None:
        """From now on these rules count; what a price version meant is written down first. `[store]` needs a restart."""
        if self.ledger is not None and rules.prices.version != self.rules.prices.version:
            from proxy.ledger.database import FAILURES, reason

            try:
                await self.ledger.note_prices(rules.prices)
            except FAILURES as error:  # each row says its prices itself; this table is for people
                _log.error("prices_not_noted", version=rules.prices.version, why=reason(error))
        if config.limits.abuse != self._config.limits.abuse:
            self.abuse = self._guard(config)
        self._config = msgspec.structs.replace(config, store=self._config.store)
        self.rules = rules
        self.budgets = self._budgets()

    # -- what the door asks

    def let_in(self, key: Principal) -> None:
        """Raises RateExceeded: this key failed too often a moment ago. Who is not asked for a key is not counted."""
        wait = self.abuse.blocked_s(key.id)
        if wait:
            raise RateExceeded(
                f"Too many failed attempts (> {self.abuse.failures}). Try again in {wait:.0f} seconds.",
                retry_after_s=wait,
            )

    def failed(self, key: Principal, error: TraghettoError) -> None:
        """A request of this key was answered with `error`: its own faults are counted against it."""
        if key is not ANYBODY and 400 <= error.status < 500 and error.status not in (402, 429, 499):
            self.abuse.failed(key.id)

    def state(self) -> dict[str, float]:
        """Figures for whoever watches: how far the ledger is behind, and whether Redis is there."""
        state: dict[str, float] = {}
        if self.ledger is not None:
            state["ledger_behind"] = self.ledger.behind
            state["ledger_trouble"] = float(bool(self.ledger.trouble))
            state["ledger_rows"] = self.ledger.written
            state["ledger_commits"] = self.ledger.commits
            state["ledger_scribe"] = float(self.ledger.helped)
        silent = getattr(self.store, "silent", None)
        if silent is not None:
            state["limits_silent"] = float(silent)
            state["limits_redis_calls"] = getattr(self.store, "calls", 0)
        return state

    # -- within

    def _guard(self, config: Config) -> AbuseGuard:
        rule = config.limits.abuse
        if self._failures is not None:
            from proxy.limits.shared_abuse import FAILURES_MAX, SharedGuard

            if rule.failures <= FAILURES_MAX:
                return SharedGuard(self._failures, rule.failures, rule.window_s, rule.block_s)
        return AbuseGuard(rule.failures, rule.window_s, rule.block_s)

    def _budgets(self) -> Budgets:
        return Budgets(self.store, self._spent, rates_of(self._config.limits))

    async def _spent(self, key_id: str, since_us: int) -> int:
        if self.database is None:
            return 0  # without a ledger a budget begins with the process
        from proxy.ledger.database import FAILURES, reason
        from proxy.ledger.usage import spent

        try:
            return (await spent(self.database, since_us, [key_id])).get(key_id, 0)
        except FAILURES as error:
            _log.error("spending_cannot_be_read", why=reason(error))
            raise Unavailable("The accounts cannot be read at the moment.", retry_after_s=2) from error

    async def _ticking(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            await self._flush()
            await self._inherit()

    async def _flush(self) -> None:
        from proxy.ledger.database import FAILURES

        with contextlib.suppress(*FAILURES):  # they stay in memory, and the ledger says what is wrong
            await self.hits.flush()

    async def _inherit(self) -> None:
        from proxy.ledger.database import FAILURES

        if self.ledger is not None and not self.ledger.trouble:
            with contextlib.suppress(*FAILURES):
                await self.ledger.inherit()


def cores() -> int:
    """How many this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


async def examine(config: Config, host: str, file: str = "") -> None:
    """What `start` would say of the database, the folder and the keys, before anything is served. Raises ConfigError."""
    accounts = Accounts(config, Keys(config, host, file))
    try:
        await accounts.open()
    except ConfigError as error:
        raise ConfigError(error.what, file=file, where=error.where, expected=error.expected) from None
    finally:
        await accounts.aclose()
