"""Counting tokens: the only room with tiktoken. Counts are for admission and estimates; bills take the upstream's own usage.

tiktoken fetches its tables at first use, and a server must not wait for somebody else's network: a table is used only if
it is on this machine already (`TIKTOKEN_CACHE_DIR`, or where tiktoken keeps them); else a count is an estimate, which is
said once. Long texts are counted in a bounded pool of threads (tiktoken releases the interpreter), never on the loop.
"""

import asyncio
import hashlib
import os
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

from proxy import log
from proxy.call import UsageSource
from proxy.wire.chat import Message

INLINE = 4096  # bytes that may be counted on the event loop
SLICE = 100_000  # characters at a time: very long runs without a space cost more than their length
BYTES_PER_TOKEN = 4
_TABLES = {"o200k_base": "https://openaipublic.blob.core.windows.net/encodings/o200k_base.tiktoken"}
_pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="tokens")
_log = log.get("tokens")


def estimate(size: int) -> int:
    """Bytes of text → tokens, roughly: English is near four bytes a token."""
    return -(-size // BYTES_PER_TOKEN)


def table_path(name: str = "o200k_base") -> Path:
    """Where tiktoken keeps a table: named by the SHA-1 of its address."""
    folder = os.environ.get("TIKTOKEN_CACHE_DIR") or os.environ.get("DATA_GYM_CACHE_DIR")
    digest = hashlib.sha1(_TABLES[name].encode(), usedforsecurity=False).hexdigest()
    return Path(folder or Path(tempfile.gettempdir()) / "data-gym-cache") / digest


@lru_cache(maxsize=4)
def _encoding(name: str) -> Any | None:
    if not table_path(name).is_file():
        _log.info(
            "token counts are estimates: the table is not on this machine", table=name, path=str(table_path(name))
        )
        return None
    import tiktoken

    return tiktoken.get_encoding(name)


def _counted(texts: Iterable[str]) -> tuple[int, UsageSource]:
    encoding = _encoding("o200k_base")
    if encoding is None:
        return sum(estimate(len(text.encode())) for text in texts), UsageSource.ESTIMATE
    total = 0
    for text in texts:
        for at in range(0, len(text), SLICE):
            total += len(encoding.encode_ordinary(text[at : at + SLICE]))
    return total, UsageSource.TOKENIZER


async def count(texts: list[str]) -> tuple[int, UsageSource]:
    """Tokens in all texts together, and whether they were counted or estimated."""
    if sum(len(text) for text in texts) <= INLINE:
        return _counted(texts)
    return await asyncio.get_running_loop().run_in_executor(_pool, _counted, texts)


async def count_messages(messages: list[Message]) -> tuple[int, UsageSource]:
    """As `count`, with what a chat adds to its texts: three tokens a message and its role, and three for the answer."""
    texts = [message.text for message in messages] + [message.name for message in messages if message.name]
    total, source = await count(texts)
    return total + 4 * len(messages) + 3, source
