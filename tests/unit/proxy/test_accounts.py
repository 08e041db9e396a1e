"""What calls are counted with: what is opened from which configuration, in which order, and what a reload changes."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from fakes.houses import read
from proxy import accounts as room
from proxy import catalogue
from proxy.accounts import Accounts, examine, rules_of
from proxy.call import ANYBODY, Principal
from proxy.config import Abuse, Config, Limits, Server, Store
from proxy.errors import BadRequest, ConfigError, RateExceeded, TraghettoError, Unavailable
from proxy.keys.desk import Wish
from proxy.ledger.row import Mark
from proxy.limits.hits import MemoryHits
from proxy.limits.memory import MemoryStore
from proxy.limits.reference import Bucket, Measure
from proxy.limits.shared import SharedStore
from proxy.limits.store import Grant, Shortfall
from proxy.limits.store import Refusal as Refused

MARK = Mark("c1", "k", "chat", "m", "u", "t", 1_700_000_000_000_000)


def config(at: Path, **store: object) -> Config:
    return Config(store=Store(url=f"sqlite:///{at}/t.db", **store))  # type: ignore[arg-type]


def with_accounts(config: Config, work: Callable[[Accounts], Awaitable[None]]) -> None:
    async def run() -> None:
        accounts = Accounts(config)
        await accounts.start()
        try:
            await work(accounts)
        finally:
            await accounts.aclose()

    asyncio.run(run())


def test_by_default_there_is_a_ledger_and_the_keys_share_its_database(tmp_path: Path) -> None:
    async def work(accounts: Accounts) -> None:
        assert accounts.ledger is not None
        assert isinstance(accounts.store, MemoryStore)
        made = await (await accounts.keyring.store()).desk.create(Wish(usd=1.0))
        key = accounts.keyring.principal(made.text)
        assert key.usd_micro == 1_000_000
        accounts.ledger.open(MARK)
        accounts.ledger.forget(MARK.call_id)

    with_accounts(config(tmp_path), work)
    assert [file.name for file in (tmp_path / "t.db.state").iterdir()] == [], "nothing is open: no journal is left"


@pytest.mark.parametrize(
    ("asked", "cores", "workers", "then"),
    [
        ("auto", 2, 1, "auto"),
        ("auto", 1, 1, "never"),
        ("auto", 4, 4, "never"),
        ("always", 1, 1, "always"),
        ("never", 8, 1, "never"),
    ],
)
def test_of_itself_a_scribe_is_for_a_core_that_no_worker_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str, cores: int, workers: int, then: str
) -> None:
    monkeypatch.setattr(room, "cores", lambda: cores)
    asked_for = config(tmp_path, scribe=asked)

    async def work(accounts: Accounts) -> None:
        assert accounts.ledger is not None
        assert (accounts.ledger._scribe._when if accounts.ledger._scribe else "never") == then
        assert accounts.state()["ledger_scribe"] == 0, "nothing was written yet"

    with_accounts(msgspec.structs.replace(asked_for, server=Server(workers=workers)), work)


def test_without_a_ledger_nothing_is_made_on_disk(tmp_path: Path) -> None:
    async def work(accounts: Accounts) -> None:
        assert accounts.ledger is None
        assert accounts.database is None
        assert await accounts.budgets._spent("k", 0) == 0

    with_accounts(config(tmp_path, ledger=False), work)
    assert [*tmp_path.iterdir()] == []


def test_several_workers_share_their_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = Bucket("k", "m", Measure.RPM, 2)

    async def work(accounts: Accounts) -> None:
        assert isinstance(accounts.store, SharedStore)
        other = Accounts(config(tmp_path))
        await other.start()
        assert isinstance(other.store.reserve_now([(bucket, 1)]), Grant)
        assert isinstance(accounts.store.reserve_now([(bucket, 1)]), Grant)
        assert isinstance(accounts.store.reserve_now([(bucket, 1)]), Refused)
        await other.aclose()

    monkeypatch.setenv(room.WORKERS, "2")
    with_accounts(config(tmp_path), work)
    monkeypatch.delenv(room.WORKERS)
    with_accounts(
        msgspec.structs.replace(config(tmp_path, folder=f"{tmp_path}/own"), server=Server(workers=2)), work_none
    )
    assert (tmp_path / "own/limits").exists()


async def work_none(accounts: Accounts) -> None:
    assert isinstance(accounts.store, SharedStore)


def test_redis_need_not_be_there_at_the_start(tmp_path: Path) -> None:
    async def work(accounts: Accounts) -> None:
        from proxy.limits.redis import RedisStore

        assert isinstance(accounts.store, RedisStore)

    with_accounts(config(tmp_path, redis="redis://127.0.0.1:9/0", replicas=2), work)


def test_calls_that_a_dead_process_left_open_are_inherited(tmp_path: Path) -> None:
    """Also by a neighbour that was running when it died."""

    async def work() -> None:
        first, second = Accounts(config(tmp_path)), Accounts(config(tmp_path))
        await first.start()
        await second.start()
        assert first.ledger is not None
        assert second.ledger is not None
        first.ledger.open(MARK)
        assert first.ledger._journal is not None
        first.ledger._journal._open.clear()

        first.ledger._journal.drop()  # as the kernel does when it dies
        await second._inherit()
        assert second.database is not None
        from proxy.ledger.usage import receipt

        row = await receipt(second.database, "c1")
        assert row is not None
        assert (row["ending"], row["amount_micro"]) == ("interrupted", None)
        await first.aclose()
        await second.aclose()

    asyncio.run(work())


@pytest.mark.parametrize(
    ("store", "where"),
    [
        ({"url": "mysql://nowhere/x"}, "store.url"),
        ({"url": "sqlite:////proc/nowhere/t.db"}, "store.url"),
        ({"folder": "/proc/nowhere"}, "store.url"),
    ],
)
def test_what_cannot_be_opened_is_said_before_the_start(tmp_path: Path, store: dict[str, str], where: str) -> None:
    wrong = Config(store=Store(**{"url": f"sqlite:///{tmp_path}/t.db", **store}))  # type: ignore[arg-type]
    with pytest.raises(ConfigError) as caught:
        asyncio.run(examine(wrong, "127.0.0.1", "t.toml"))
    assert (caught.value.where, caught.value.file) == (where, "t.toml")


def test_an_open_door_is_said_before_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="traghetto keys create"):
        asyncio.run(examine(config(tmp_path), "0.0.0.0"))
    asyncio.run(examine(config(tmp_path), "127.0.0.1"))


def test_a_reload_brings_prices_tiers_and_the_guard(tmp_path: Path) -> None:
    plain = config(tmp_path)
    shown = '[upstreams.e]\nkind = "echo"\n[models.m]\ntargets = [{upstream = "e", model = "x"}]\n'
    priced = read(shown + "pricing = {input_usd = 1.0}\n[tiers.default]\ntext = {rpm = 1}\n")

    async def work(accounts: Accounts) -> None:
        guard, spent = accounts.abuse, accounts.store
        new = msgspec.structs.replace(priced, limits=Limits(abuse=Abuse(failures=1), diem_usd=2.0))
        rules = rules_of(new, catalogue.build(new))
        await accounts.use(new, rules)
        assert accounts.rules is rules
        assert accounts.store is spent
        assert accounts.abuse is not guard
        assert accounts.budgets.capacity(Principal("k", diem_micro=1_000_000)) == 2_000_000
        assert rules.free == frozenset({"e"})
        kept = accounts.abuse
        await accounts.use(new, rules)
        assert accounts.abuse is kept, "a reload that does not change it forgets nobody's failures"
        assert accounts.database is not None
        from sqlalchemy import select

        from proxy.ledger.tables import prices

        noted = await accounts.database.read(lambda c: set(c.execute(select(prices.c.version)).scalars()))
        assert rules.prices.version in noted

    with_accounts(plain, work)


def test_a_key_that_keeps_failing_waits() -> None:
    accounts = Accounts(Config(limits=Limits(abuse=Abuse(failures=2))))
    key = Principal("k")
    for error in (BadRequest("no"), RateExceeded("no"), Unavailable("no"), TraghettoError("no"), BadRequest("no")):
        accounts.failed(key, error)
    accounts.let_in(key)
    accounts.failed(key, BadRequest("no"))
    with pytest.raises(RateExceeded, match=r"> 2") as caught:
        accounts.let_in(key)
    assert caught.value.retry_after_s == pytest.approx(30, abs=1)
    accounts.let_in(Principal("other"))
    for _ in range(9):
        accounts.failed(ANYBODY, BadRequest("no"))
    accounts.let_in(ANYBODY)


def test_hits_are_written_down(tmp_path: Path) -> None:
    bucket = Bucket("k", "m", Measure.RPM, 1)

    async def work(accounts: Accounts) -> None:
        accounts.hits.note("k", Refused([Shortfall(bucket, 1, 0, 5)]), "m")
        await accounts._flush()
        other = Accounts(config(tmp_path))
        await other.start()
        assert [hit.measure for hit in await other.hits.last("k")] == ["RPM"]
        await other.aclose()

    with_accounts(config(tmp_path), work)
    assert isinstance(Accounts(Config()).hits._rows, MemoryHits)
