"""Which model speaks when none is named, and when the answer is a stream."""

from types import SimpleNamespace
from typing import Any

import pytest

from fakes.asked import desk, inbound
from proxy.errors import BadRequest
from routes.speech import create


def house(*models: str) -> Any:
    return desk(house=SimpleNamespace(catalogue=SimpleNamespace(models=dict.fromkeys(models))))


@pytest.mark.asyncio
async def test_the_model_when_none_is_named() -> None:
    assert (await create(inbound({"input": "x"}), house("tts-kokoro"))).request.model == "tts-kokoro"
    assert (await create(inbound({"input": "x"}), house("other"))).request.model == "default"
    assert (await create(inbound({"input": "x", "model": "m"}), house())).request.model == "m"


@pytest.mark.asyncio
async def test_streams() -> None:
    assert not (await create(inbound({"input": "x"}), house())).stream
    assert (await create(inbound({"input": "x", "streaming": True}), house())).stream
    assert (await create(inbound({"input": "x", "stream_format": "sse"}), house())).stream
    with pytest.raises(BadRequest, match="stream_format"):
        await create(inbound({"input": "x", "stream_format": "sse"}, venice=True), house())
