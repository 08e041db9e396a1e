"""Who is asked for a key, and when."""

import asyncio
from pathlib import Path

import pytest

from proxy.config import Auth, Config, Store
from proxy.errors import ConfigError, KeyInvalid
from proxy.keyring import Keys, is_loopback
from proxy.keys.desk import Wish


def config(folder: Path, required: object = "auto") -> Config:
    return Config(auth=Auth(required=required), store=Store(url=f"sqlite:///{folder}/t.db"))  # type: ignore[arg-type]


async def opened(keys: Keys) -> None:
    try:
        await keys.start()
    finally:
        await keys.aclose()


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("me.lan", False),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_nobody_is_asked_until_a_key_exists(tmp_path: Path) -> None:
    """And without one, nothing is made on disk."""

    async def work() -> None:
        keys = Keys(config(tmp_path))
        await keys.start()
        assert not keys.required
        assert [*tmp_path.iterdir()] == []  # noqa: ASYNC240 - one look in a test
        made = await (await keys.store()).desk.create(Wish(admin=True))
        assert keys.required
        assert keys.principal(made.text).admin
        with pytest.raises(KeyInvalid):
            keys.principal("tgt_nothing")
        await keys.aclose()
        again = Keys(config(tmp_path))
        await again.start()
        assert again.required
        assert again.principal(made.text).id == made.row.id
        await again.aclose()

    asyncio.run(work())


def test_the_door_stays_closed_when_the_last_key_is_gone(tmp_path: Path) -> None:
    """Revoked or expired: whoever had it comes in no more, and so does everybody else."""

    async def work() -> None:
        keys = Keys(config(tmp_path))
        await keys.start()
        store = await keys.store()
        made = await store.desk.create(Wish())
        assert await store.desk.revoke(made.row.id)
        assert not store.directory.any
        assert keys.required
        with pytest.raises(KeyInvalid):
            keys.principal(made.text)
        await keys.aclose()
        again = Keys(config(tmp_path))
        await again.start()
        assert again.required, "after a restart, too"
        await again.aclose()

    asyncio.run(work())


def test_a_key_made_by_another_process_closes_the_door(tmp_path: Path) -> None:
    async def work() -> None:
        server, other = Keys(config(tmp_path)), Keys(config(tmp_path))
        await server.start()
        await (await other.store()).desk.create(Wish())
        async with asyncio.timeout(5):
            while not server.required:  # noqa: ASYNC110 - the promise is "within a second"
                await asyncio.sleep(0.02)
        await server.aclose()
        await other.aclose()

    asyncio.run(work())


def test_an_open_door_to_the_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="traghetto keys create"):
        asyncio.run(opened(Keys(config(tmp_path), "0.0.0.0", "t.toml")))
    asyncio.run(opened(Keys(config(tmp_path, required=False), "0.0.0.0")))
    asyncio.run(opened(Keys(config(tmp_path, required=True), "0.0.0.0")))


def test_required_without_any_key_lets_nobody_in(tmp_path: Path) -> None:
    keys = Keys(config(tmp_path, required=True))
    assert keys.required
    with pytest.raises(KeyInvalid):
        keys.principal("anything")


def test_a_store_that_cannot_be_used_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "t.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(ConfigError, match="cannot be used"):
        asyncio.run(opened(Keys(config(tmp_path))))
