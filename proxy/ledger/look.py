"""What a database is like, told without changing anything in it: for `doctor`."""

from sqlalchemy import Connection, func, select

from proxy.errors import ConfigError
from proxy.ledger.database import FAILURES, Database, Postgres, Sqlite, parse, reason
from proxy.ledger.migrate import state
from proxy.ledger.tables import HEAD, calls


async def look(url: str) -> str:
    """One line: its schema, how many calls it holds.

    Raises:
        ConfigError: it is no database of ours, or does not answer.
    """
    found = parse(url)
    database: Database = Sqlite(found) if found.get_backend_name() == "sqlite" else Postgres(found)
    try:
        if database.file is not None and not database.file.exists():
            return f"{database.name} is not there yet; the first start makes it"
        schema = await database.read(state)
        if schema is None:
            return f"{database.name} is empty; the first start makes the tables"
        if schema > HEAD:
            raise ConfigError(f"{database.name} has schema {schema}, newer than this program's ({HEAD})")
        count = await database.read(_count)
        later = "" if schema == HEAD else "; the next start brings its schema up to date, with a copy beforehand"
        return f"{database.name}: {count} calls{later}"
    except FAILURES as error:
        raise ConfigError(f"{database.name} cannot be used: {reason(error)}") from error
    finally:
        await database.aclose()


def _count(connection: Connection) -> int:
    return int(connection.execute(select(func.count()).select_from(calls)).scalar_one())
