"""The keys of one store, opened and closed."""

import asyncio
from pathlib import Path

from proxy.keys.desk import Wish
from proxy.keys.store import exists, opened, pepper_file


def test_where_things_lie(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/t.db"
    assert not exists(url)
    assert exists("postgresql://u:p@127.0.0.1/t")
    assert pepper_file(url) == tmp_path / "t.db.pepper"


def test_a_key_survives_closing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/t.db"

    async def work() -> None:
        store = await opened(url, watch=False)
        made = await store.desk.create(Wish(description="first"))
        await store.aclose()
        again = await opened(url, watch=True)
        assert again.directory.principal(made.text).id == made.row.id
        await again.aclose()

    asyncio.run(work())
    assert exists(url)
    assert (tmp_path / "t.db.pepper").stat().st_mode & 0o077 == 0
