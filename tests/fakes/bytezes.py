"""A bytez upstream beside its double, for tests of the parts of that adapter."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from adapters.bytez.adapter import build
from adapters.options import BytezOptions
from fakes.doubles.bytez import BytezDouble
from fakes.doubles.clockwork import Pace


@asynccontextmanager
async def bytez(options: dict[str, Any] | None = None, **more: Any) -> AsyncIterator[tuple[BytezDouble, Any]]:
    """The double and the adapter in front of it; nothing of the key may go to another origin than the API's."""
    async with BytezDouble(**{"pace": Pace.quick(), "plan": 4} | more) as double:
        given: dict[str, Any] = {
            "base_url": double.base_url,
            "api_key": double.key,
            "file_hosts": (double.origin("files"),),
        }
        made = build("up", BytezOptions(**given | (options or {})))
        try:
            yield double, made
        finally:
            await made.aclose()
        assert double.leaks == []


V1 = {"api": "v1", "reads_per_s": 1000.0}
