"""The keys of one store, opened: its database, the copy that calls ask, the desk that makes and revokes.

It owns where the pepper lies: in its variable, or beside an SQLite file. Nothing is made on disk until a key is.
"""

from pathlib import Path

from proxy.keys import pepper
from proxy.keys.desk import KeyDesk
from proxy.keys.directory import Directory
from proxy.ledger.database import Database, connect, patiently, sqlite_file
from proxy.ledger.keyrows import KeyRows


class KeyStore:
    """`directory` answers for calls, `desk` for administrators."""

    def __init__(self, database: Database, rows: KeyRows, secret: bytes, *, lent: bool = False) -> None:
        self.rows = rows
        self.directory = Directory(rows, secret)
        self.desk = KeyDesk(rows, self.directory, secret)
        self.pepper = secret
        self.database = database
        self._lent = lent

    async def aclose(self) -> None:
        await self.directory.aclose()
        if not self._lent:
            await self.database.aclose()


def exists(url: str) -> bool:
    """Whether there can be keys: an SQLite file that is there, or any server."""
    file = sqlite_file(url)
    return file is None or file.exists()


def pepper_file(url: str) -> Path:
    file = sqlite_file(url)
    return file.with_name(file.name + ".pepper") if file else Path("traghetto.pepper")


async def opened(url: str, *, watch: bool, database: Database | None = None) -> KeyStore:
    """Open the store, making what is missing; with `watch` its directory follows changes of others. A `database` that is
    lent stays its owner's to close.

    Raises:
        ConfigError: the database or the pepper cannot be used.
    """
    lent = database is not None
    database = database or await connect(url)
    try:
        store = KeyStore(database, KeyRows(database), pepper.load(pepper_file(url)), lent=lent)
        await patiently(store.directory.start if watch else store.directory.load)
    except BaseException:
        if not lent:
            await database.aclose()
        raise
    return store
