"""The one database: its URL, its engines, its errors. It knows tables only to make them, and no call, key or price.

Whoever wants something of it brings a plain function of a Core `Connection`; the function is one transaction. For SQLite
it runs in the one writing thread (or a reading one), for PostgreSQL over asyncpg: the same statements, one code path.

SQLite in WAL mode: a commit is in the kernel when it returns (safe from kill -9; the last ones may be lost in a power
cut), one writer at a time, waited for `BUSY_MS`. PostgreSQL by URL, through the same SQLAlchemy Core statements.
"""

import asyncio
import re
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from sqlalchemy import Connection, Engine, Table, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from proxy.errors import ConfigError
from proxy.ledger.append import BUSY_MS, CACHED, CHECKPOINT_EVERY, ROWS_LIKE_ONE, TAKE_IN, append, prepare
from proxy.ledger.bulk import Bulk, Parted, Shape, Values

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

START_S = 15.0  # how long a start waits for a database that is locked
T = TypeVar("T")
DRIVERS = {"sqlite": "sqlite+pysqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}
FAILURES = (SQLAlchemyError, OSError, sqlite3.Error, TimeoutError)


def parse(url: str) -> URL:
    """`sqlite:///./file.db` or `postgresql://user:password@host/db`, with the driver that we use.

    Raises:
        ConfigError: it is neither.
    """
    expected = "sqlite:///./traghetto.db or postgresql://user:password@host/db"
    try:
        found = make_url(url)
    except ArgumentError:
        raise ConfigError("not a database URL", where="store.url", expected=expected) from None
    driver = DRIVERS.get(found.get_backend_name())
    if driver is None:
        raise ConfigError(
            f"{found.get_backend_name()!r} is not a database we speak", where="store.url", expected=expected
        )
    return found.set(drivername=driver)


def sqlite_file(url: str) -> Path | None:
    """The file of an SQLite URL; None for PostgreSQL and for a database in memory."""
    found = parse(url)
    if found.get_backend_name() != "sqlite" or not found.database or found.database == ":memory:":
        return None
    return Path(found.database)


class Database(Protocol):
    """Made by `connect`. `write` is one transaction, `read` is for queries. Both raise one of FAILURES."""

    settled: Callable[[], Awaitable[None]] | None
    """What who reads calls awaits first: see `Ledger.caught_up`, which puts itself here. None where nobody writes any."""

    @property
    def sqlite(self) -> bool: ...

    @property
    def file(self) -> Path | None: ...

    @property
    def name(self) -> str:
        """For messages: without a password."""
        ...

    async def write(self, work: Callable[[Connection], T]) -> T: ...

    async def read(self, work: Callable[[Connection], T]) -> T: ...

    async def append(self, table: Table, rows: Iterable[Values], parted: Iterable[Parted] = ()) -> None:
        """`insert` of many rows, in the order of the table's columns, in one transaction and by the shortest way; and of
        others that come as `bulk.Parted`. They may be looked at in another thread."""
        ...

    def insert(self, table: Any) -> Any:
        """An INSERT that leaves a row alone that is there already."""
        ...

    async def aclose(self) -> None: ...


class Sqlite:
    """A Database in one file, with a thread that writes and two that read."""

    sqlite = True

    def __init__(self, url: URL) -> None:
        self.file = None if url.database in (None, "", ":memory:") else Path(str(url.database))
        self.name = str(self.file or "in memory")
        self._engine = _sqlite_engine(url)
        self._writing = ThreadPoolExecutor(1, "ledger-write")
        # a database in memory is one connection's: everybody shares it
        self._reading = ThreadPoolExecutor(2, "ledger-read") if self.file else self._writing
        self._writer: Connection | None = None
        self._commits = 0
        self._bulks: dict[Table, Bulk] = {}
        self.settled: Callable[[], Awaitable[None]] | None = None

    async def write(self, work: Callable[[Connection], T]) -> T:
        done = await asyncio.get_running_loop().run_in_executor(self._writing, self._write, work)
        self._count(1)
        return done

    def _count(self, commits: int) -> None:
        self._commits += commits
        if self.file and self._commits >= CHECKPOINT_EVERY:
            self._commits = 0
            self._reading.submit(self._checkpoint)

    def _write(self, work: Callable[[Connection], T]) -> T:
        connection = self._writer
        if connection is None:
            connection = self._writer = self._engine.connect()
        try:
            # the writer's lock at once: a read that turns into a write could not wait for it
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            done = work(connection)
            connection.commit()
        except FAILURES:
            self._writer = None  # whatever state it is in, the next write opens another
            connection.invalidate()
            connection.close()
            raise
        except BaseException:
            connection.rollback()
            raise
        return done

    async def append(self, table: Table, rows: Iterable[Values], parted: Iterable[Parted] = ()) -> None:
        bulk = self._bulks.get(table) or self._bulks.setdefault(table, Bulk(Shape.of(table)))
        count = await asyncio.get_running_loop().run_in_executor(self._writing, self._append, bulk, rows, parted)
        self._count(1 + count // ROWS_LIKE_ONE)

    def _append(self, bulk: Bulk, rows: Iterable[Values], parted: Iterable[Parted]) -> int:
        connection = self._writer
        if connection is None:
            connection = self._writer = self._engine.connect()
        raw: Any = connection.connection.driver_connection
        try:
            return append(raw, bulk, rows, parted)
        except BaseException:
            self._writer = None
            connection.invalidate()
            connection.close()
            raise

    async def read(self, work: Callable[[Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._reading, self._read, work)

    def _read(self, work: Callable[[Connection], T]) -> T:
        if not self.file and self._writer is not None:
            return work(self._writer)
        with self._engine.connect() as connection:
            return work(connection)

    def _checkpoint(self) -> None:
        """The bulk by a reading thread, while commits go on; then the little that came meanwhile by the writing one, so
        that the log is wholly taken in and begins again. What goes wrong here, the next write says."""
        with suppress(*FAILURES):
            with self._engine.connect() as connection:
                connection.exec_driver_sql(TAKE_IN)
            with suppress(RuntimeError):  # closing
                self._writing.submit(self._finish_checkpoint)

    def _finish_checkpoint(self) -> None:
        with suppress(*FAILURES), self._engine.connect() as connection:
            connection.exec_driver_sql(TAKE_IN)

    def insert(self, table: Any) -> Any:
        from sqlalchemy.dialects.sqlite import insert

        return insert(table).on_conflict_do_nothing()

    async def aclose(self) -> None:
        def close() -> None:
            if self._writer is not None:
                self._writer.close()
            self._engine.dispose()

        await asyncio.get_running_loop().run_in_executor(self._writing, close)
        self._writing.shutdown()
        self._reading.shutdown()


class Postgres:
    """A Database behind a URL."""

    sqlite = False
    file = None

    def __init__(self, url: URL) -> None:
        from sqlalchemy.ext.asyncio import (
            create_async_engine,  # it brings the whole ORM, which SQLite can start without
        )

        self.name = url.render_as_string(hide_password=True)
        self._engine: AsyncEngine = create_async_engine(
            url, pool_size=4, max_overflow=4, pool_timeout=2.0, connect_args={"timeout": 2.0}
        )
        self._texts: dict[Table, str] = {}
        self._bulks: dict[Table, Bulk] = {}
        self.settled: Callable[[], Awaitable[None]] | None = None

    async def write(self, work: Callable[[Connection], T]) -> T:
        with _as_ours():
            async with self._engine.begin() as connection:
                return await connection.run_sync(work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        with _as_ours():
            async with self._engine.connect() as connection:
                return await connection.run_sync(work)

    async def append(self, table: Table, rows: Iterable[Values], parted: Iterable[Parted] = ()) -> None:
        bulk = self._bulks.get(table) or self._bulks.setdefault(table, Bulk(Shape.of(table)))
        statement = self._texts.get(table)
        values = [*rows, *(bulk.whole(shared, one) for shared, own in parted for one in own)]
        if (
            statement is None
        ):  # its own placeholders, in the order of the columns: binding by name costs ten times as much
            statement = self._texts[table] = str(self.insert(table).compile(dialect=self._engine.dialect))

        def work(connection: Connection) -> None:
            connection.exec_driver_sql(statement, values)

        await self.write(work)

    def insert(self, table: Any) -> Any:
        from sqlalchemy.dialects.postgresql import insert

        return insert(table).on_conflict_do_nothing()

    async def aclose(self) -> None:
        await self._engine.dispose()


@contextmanager
def _as_ours() -> Iterator[None]:
    """What asyncpg raises while it connects comes unwrapped."""
    try:
        yield
    except FAILURES:
        raise
    except Exception as error:
        if type(error).__module__.startswith("asyncpg."):
            raise ConnectionError(str(error)) from error
        raise


def _sqlite_engine(url: URL) -> Engine:
    memory = url.database in (None, "", ":memory:")
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=1 if memory else 4,
        max_overflow=0 if memory else 4,
        connect_args={"timeout": BUSY_MS / 1000, "check_same_thread": False, "cached_statements": CACHED},
    )
    event.listen(engine, "connect", lambda connection, _: prepare(connection))
    return engine


async def connect(url: str) -> Database:
    """Open, and bring the schema up to date.

    Raises:
        ConfigError: the file cannot be opened, written or understood, or the server does not answer.
    """
    from proxy.ledger.migrate import migrate

    found = parse(url)
    database: Database = Sqlite(found) if found.get_backend_name() == "sqlite" else Postgres(found)
    try:
        if database.file:
            await asyncio.to_thread(database.file.parent.mkdir, parents=True, exist_ok=True)
        await patiently(lambda: migrate(database))
    except ConfigError:
        await database.aclose()
        raise
    except FAILURES as error:
        await database.aclose()
        raise ConfigError(
            f"the database {database.name} cannot be used: {reason(error)}",
            where="store.url",
            expected="a database that can be read and written",
        ) from error
    return database


async def patiently(work: Callable[[], Awaitable[T]], seconds: float = START_S) -> T:
    """`work`, again and again while the database is locked: a start must not fail because a neighbour has just died, and
    whoever comes first is reading its log. Raises what `work` raises."""
    until = asyncio.get_running_loop().time() + seconds
    while True:
        try:
            return await work()
        except FAILURES as error:
            if "locked" not in reason(error) or asyncio.get_running_loop().time() > until:
                raise
        await asyncio.sleep(0.05)


def reason(error: BaseException) -> str:
    """One line about a database's failure, without the statement and its values."""
    origin = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    # asyncpg's own wrapper puts the class in front
    lines = re.sub(r"^<class '[^']*'>: ", "", str(origin).strip()).splitlines()
    return lines[0] if lines else type(origin).__name__
