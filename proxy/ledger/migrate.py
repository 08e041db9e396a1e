"""Bring a database up to the newest schema, once, whoever comes first; an old SQLite file is copied beforehand.

It owns the order of things (lock, look, back up, change); the changes are in `migrations/versions`. A database that is
new, or up to date, never loads alembic, which would cost a third of a second at every start.
"""

import asyncio
import fcntl
import os
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from proxy.errors import ConfigError
from proxy.ledger.tables import HEAD, metadata

if TYPE_CHECKING:
    from proxy.ledger.database import Database

_ADVISORY = 7_249_461  # an arbitrary number that all of us use
MIGRATIONS = Path(__file__).parent / "migrations"


async def migrate(database: "Database") -> None:
    """Raises ConfigError if the schema is newer than this program; database errors as they come."""
    if await database.read(state) == HEAD:
        return
    lock = await asyncio.to_thread(_lock, database.file) if database.file else -1
    try:
        before = await database.read(state)
        if before is not None and before > HEAD:
            raise ConfigError(
                f"the database {database.name} has schema {before}, newer than this program's ({HEAD})",
                where="store.url",
                expected="the version of the program that wrote it, or a newer one",
            )
        if database.file and before is not None and before != HEAD:
            await asyncio.to_thread(back_up, database.file, before)
        await database.write(_bring_up)
    finally:
        if lock >= 0:
            os.close(lock)


def state(connection: Connection) -> str | None:
    """The schema's revision; None for a database without ours."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _bring_up(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":  # whoever comes second finds the work done
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_ADVISORY})"))
    before = state(connection)
    if before is None:
        create(connection)
    elif before != HEAD:
        upgrade(connection)


def create(connection: Connection) -> None:
    """The newest schema, from nothing."""
    metadata.create_all(connection)
    connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
    connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})


def upgrade(connection: Connection, to: str = "head") -> None:
    """Run the migrations up to `to`, in the transaction that the connection is in."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, to)


def back_up(file: Path, state: str) -> Path:
    """A whole, consistent copy beside the file, with the schema's revision and the time in its name."""
    copy = file.with_name(f"{file.name}.{state}.{time.strftime('%Y%m%d-%H%M%S')}.bak")
    source, sink = sqlite3.connect(file), sqlite3.connect(copy)
    try:
        source.backup(sink)
    finally:
        source.close()
        sink.close()
    os.chmod(copy, 0o600)
    return copy


def _lock(file: Path) -> int:
    """One process at a time; given back by closing."""
    fd = os.open(file.with_name(file.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    return fd
