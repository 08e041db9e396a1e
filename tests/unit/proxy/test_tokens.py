"""Counts without a network: estimates where the table is not here, and never a wait on the loop for long texts."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy import tokens
from proxy.call import UsageSource
from proxy.wire.chat import Message, Part


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache folder without a table."""
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    tokens._encoding.cache_clear()
    yield tmp_path
    tokens._encoding.cache_clear()


class Words:
    """An encoding of one token a word, which notes who asked."""

    def __init__(self) -> None:
        self.lengths: list[int] = []
        self.threads: set[int] = set()

    def encode_ordinary(self, text: str) -> list[str]:
        self.lengths.append(len(text))
        self.threads.add(threading.get_ident())
        return text.split()


def test_estimate() -> None:
    assert [tokens.estimate(size) for size in (0, 1, 4, 5, 400)] == [0, 1, 1, 2, 100]


@pytest.mark.asyncio
async def test_without_the_table_it_is_an_estimate(nowhere: Path) -> None:
    assert tokens.table_path().parent == nowhere
    assert await tokens.count(["abcdefgh", "é"]) == (3, UsageSource.ESTIMATE)


@pytest.mark.asyncio
async def test_messages_cost_more_than_their_text() -> None:
    messages = [
        Message("user", [Part("text", "abcd"), Part("image_url", image_url={"url": "x" * 99})]),
        Message("user", "abcd", name="Ada!"),
    ]
    assert await tokens.count_messages(messages) == (1 + 1 + 1 + 2 * 4 + 3, UsageSource.ESTIMATE)


@pytest.mark.asyncio
@pytest.mark.parametrize("length", [10, 250_000], ids=["here", "in a thread"])
async def test_with_the_table_it_is_counted(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    words = Words()
    encoding: Any = lambda name: words  # noqa: E731
    encoding.cache_clear = lambda: None
    monkeypatch.setattr(tokens, "_encoding", encoding)
    assert await tokens.count(["a " * (length // 2)]) == (length // 2, UsageSource.TOKENIZER)
    assert max(words.lengths) <= tokens.SLICE
    assert (threading.get_ident() in words.threads) is (length <= tokens.INLINE)
    assert asyncio.get_running_loop().is_running()
