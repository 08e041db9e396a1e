"""A Redis that is there, one that is not, one that is slow."""

import asyncio
from pathlib import Path

import pytest

from fakes.services import Delay, Redis
from proxy.errors import ConfigError
from proxy.limits.probe import probe


def test_there_and_slow(tmp_path: Path) -> None:
    redis = Redis(tmp_path)
    redis.start()

    async def slowly() -> str:
        pipe = Delay(redis.port)
        await pipe.start()
        pipe.seconds = 0.2
        try:
            return await probe(f"redis://127.0.0.1:{pipe.port}/0")
        finally:
            await pipe.aclose()

    try:
        assert "answers in" in asyncio.run(probe(redis.url))
        with pytest.raises(ConfigError, match="would go on without it"):
            asyncio.run(slowly())
    finally:
        redis.kill()


@pytest.mark.parametrize(
    ("url", "said"), [("redis://127.0.0.1:9/0", "does not answer"), ("http://x", "not an address")]
)
def test_not_there(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        asyncio.run(probe(url))
