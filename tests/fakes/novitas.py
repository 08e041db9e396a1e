"""A novita upstream beside its double, for tests of the parts of that adapter."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from adapters.novita.adapter import Novita, build
from adapters.options import NovitaOptions
from fakes.doubles.clockwork import Pace
from fakes.doubles.novita import NovitaDouble


@asynccontextmanager
async def novita(options: dict[str, Any] | None = None, **more: Any) -> AsyncIterator[tuple[NovitaDouble, Novita]]:
    """The double and the adapter in front of it; nothing of the key may go to where files are."""
    async with NovitaDouble(**{"pace": Pace.quick()} | more) as double:
        given: dict[str, Any] = {
            "base_url": double.base_url,
            "api_key": double.key,
            "file_hosts": (double.origin("files"),),
        }
        made = build("up", NovitaOptions(**given | (options or {})))
        try:
            yield double, made
        finally:
            await made.aclose()
        assert double.leaks == []
