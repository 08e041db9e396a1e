"""Who a key belongs to, as the server's door asks it. Keys are made and kept by `proxy.keys`; this opens it when it is needed.

Deny by default: a bind that others can reach, without a single key, refuses to start. On a loopback bind nobody is asked
until the first key exists; from then on everybody is. Without a store on disk nothing is loaded for it.
"""

import asyncio
import contextlib
import ipaddress
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from proxy import log
from proxy.call import Principal
from proxy.config import Config
from proxy.errors import ConfigError, KeyInvalid, TraghettoError

if TYPE_CHECKING:
    from proxy.keys.store import KeyStore
    from proxy.ledger.database import Database

LOOK_S = 0.5  # how often a server without a store looks whether somebody has made one
_log = log.get("keyring")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address. A name counts if it is localhost."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Keys:
    """The keyring of one process: `start`, then `required` and `principal` for every request, `aclose`."""

    def __init__(self, config: Config, host: str = "127.0.0.1", file: str = "") -> None:
        said = config.auth.required
        self._said = None if said == "auto" else said  # None: from the first key on, or where others can reach us
        self._url = config.store.url
        self._host = host
        self._file = file
        self._reachable = not is_loopback(host)
        self.database: Database | None = None  # lent by who keeps the ledger, before `start`
        self._store: KeyStore | None = None
        # for every call: the directory's own once there is one
        self.principal: Callable[[str], Principal] = _nobody
        self.known: Callable[[bytes], Principal | None] = _unknown
        self._opening = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    @property
    def required(self) -> bool:
        if self._said is not None:
            return self._said
        return self._reachable or (self._store is not None and self._store.directory.ever)

    async def look_again(self, secret: str) -> bool:
        return self._store is not None and await self._store.directory.look_again(secret)

    async def store(self) -> "KeyStore":
        """The store; made on disk if there is none yet. Raises ConfigError."""
        async with self._opening:
            if self._store is None:
                from proxy.keys.store import opened  # SQLAlchemy: not before somebody needs it

                self._store = await opened(self._url, watch=True, database=self.database)
                self.principal, self.known = self._store.directory.principal, self._store.directory.known
        return self._store

    async def start(self) -> None:
        """Raises ConfigError: the store cannot be used, or the door would stand open to everybody."""
        if self._said is False:
            return
        if self.database is not None or await self._is_there():
            await self.store()
        else:
            self._task = asyncio.get_running_loop().create_task(self._look(), name="keyring-look")
        self._must_not_stand_open()

    def _must_not_stand_open(self) -> None:
        if self._said is None and self._reachable and not (self._store and self._store.directory.any):
            raise ConfigError(
                f"listening on {self._host} without any API key would let everybody in",
                file=self._file,
                where="server.host",
                expected="a key (traghetto keys create), a loopback address, or auth.required = false",
            )

    async def _is_there(self) -> bool:
        if not self._url.startswith("sqlite"):
            return True
        path = self._url.partition("///")[2]
        return bool(path) and await asyncio.to_thread(_exists, path)

    async def _look(self) -> None:
        while not await self._is_there():  # noqa: ASYNC110 - another process makes the file
            await asyncio.sleep(LOOK_S)
        try:
            await self.store()
        except TraghettoError as error:
            _log.error("the key store cannot be opened", why=error.message)

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._store is not None:
            await self._store.aclose()


def _nobody(secret: str) -> Principal:
    """Where no key was ever made."""
    del secret
    raise KeyInvalid("This API key is not valid.")


def _unknown(header: bytes) -> Principal | None:
    del header
    return None


def _exists(path: str) -> bool:
    return Path(path).exists()
