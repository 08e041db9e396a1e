"""A vaikerai upstream beside its double, for tests of the parts of that adapter."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from adapters.options import VaikerAIOptions
from adapters.vaikerai.adapter import VaikerAI, build
from fakes.doubles.clockwork import Pace
from fakes.doubles.vaikerai import VaikerDouble


@asynccontextmanager
async def predicting(
    options: dict[str, Any] | None = None, *, streams: bool = True, **more: Any
) -> AsyncIterator[tuple[VaikerDouble, VaikerAI]]:
    """The double and the adapter in front of it; its URLs lead elsewhere, and nothing of the key may go there."""
    async with VaikerDouble(**{"pace": Pace.quick(), "off_origin": True} | more) as double:
        given: dict[str, Any] = {
            "base_url": double.base_url,
            "api_key": double.key,
            "preset": double.preset,
            "file_hosts": (double.origin("files"),),
            "stream_hosts": (double.origin("stream"),) if streams else (),
        }
        made = build("up", VaikerAIOptions(**given | (options or {})))
        try:
            yield double, made
        finally:
            await made.aclose()
        assert double.leaks == []
