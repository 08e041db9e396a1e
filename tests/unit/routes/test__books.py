"""Asking the ledger, where it is, is not, and does not answer."""

from types import SimpleNamespace
from typing import Any

import pytest

from proxy.errors import NotFound, NotSupported, Unavailable
from routes import _books


def desk(database: Any) -> Any:
    return SimpleNamespace(accounts=SimpleNamespace(database=database))


@pytest.mark.asyncio
async def test_the_question_gets_the_database() -> None:
    async def question(database: Any) -> str:
        return database + "!"

    assert await _books.read(desk("here"), question) == "here!"
    with pytest.raises(NotSupported, match="ledger"):
        await _books.read(desk(None), question)


@pytest.mark.asyncio
@pytest.mark.parametrize("error", [TimeoutError(), OSError("no space left at /srv/books")])
async def test_what_the_database_fails_with_is_a_503_that_tells_no_detail(error: Exception) -> None:
    async def question() -> None:
        raise error

    with pytest.raises(Unavailable) as caught:
        await _books.guarded(question())
    assert caught.value.retry_after_s
    assert "/srv" not in caught.value.message


@pytest.mark.asyncio
async def test_an_error_of_ours_stays() -> None:
    async def question() -> None:
        raise NotFound("no")

    with pytest.raises(NotFound):
        await _books.guarded(question())
