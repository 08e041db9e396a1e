"""How a handler asks the ledger: with a 501 where none is kept, and a 503 where it cannot be read. It knows no question."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from proxy import log
from proxy.errors import NotSupported, Unavailable
from routes._endpoint import Desk

if TYPE_CHECKING:
    from proxy.ledger.database import Database

T = TypeVar("T")
_log = log.get("books")


async def read(desk: Desk, question: Callable[["Database"], Awaitable[T]]) -> T:
    """The answer of the ledger's database.

    Raises:
        NotSupported: this server keeps no ledger. Unavailable: the database does not answer.
    """
    database = desk.accounts.database
    if database is None:
        raise NotSupported("This server keeps no ledger (store.ledger is false).")
    return await guarded(question(database))


async def guarded(work: Awaitable[T]) -> T:
    """Anything that may raise a database error. Raises Unavailable instead."""
    from proxy.ledger.database import FAILURES, reason  # SQLAlchemy: not before it is needed

    try:
        return await work
    except FAILURES as error:
        _log.error("the accounts cannot be read", why=reason(error))
        raise Unavailable("The accounts cannot be read at the moment.", retry_after_s=2) from error
