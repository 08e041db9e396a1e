"""Whether a Redis is one that limits can be kept in: for `doctor`. It changes nothing there."""

import time

from redis import asyncio as aioredis
from redis.exceptions import RedisError

from proxy.errors import ConfigError

SLOW_S = 0.05  # half of what the limits wait before they go on with a share


async def probe(url: str) -> str:
    """One line: its version, how long it takes to answer.

    Raises:
        ConfigError: it does not answer, or too slowly.
    """
    try:
        redis = aioredis.Redis.from_url(url, socket_connect_timeout=2.0, socket_timeout=2.0, protocol=2)
    except ValueError as error:
        raise ConfigError(f"not an address of a Redis: {error}") from None
    try:
        await redis.ping()
        began = time.perf_counter()
        version = str((await redis.info("server"))["redis_version"])
        took = time.perf_counter() - began
    except (RedisError, OSError, TimeoutError) as error:
        raise ConfigError(f"Redis does not answer: {error}") from None
    finally:
        await redis.aclose()
    if took > SLOW_S:
        raise ConfigError(f"Redis {version} takes {took * 1000:.0f} ms to answer; the limits would go on without it")
    return f"Redis {version} answers in {took * 1000:.1f} ms"
