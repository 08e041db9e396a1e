"""Orders in both dialects, each as narrow as its prefix."""

import pytest

from fakes.asked import desk, inbound
from proxy.call import Operation
from proxy.errors import BadRequest
from routes.images import generate, generations, listed_styles


@pytest.mark.asyncio
async def test_orders() -> None:
    call = await generate(inbound({"model": "m", "prompt": "x", "return_binary": True}), desk())
    assert (call.operation, call.request.shape) == (Operation.IMAGES, "binary")
    call = await generations(inbound({"prompt": "x", "n": 3, "extra": 1}), desk())
    assert (call.request.n, call.request.model) == (3, "default")


@pytest.mark.asyncio
async def test_unknown_keys() -> None:
    with pytest.raises(BadRequest, match="'extra'"):
        await generations(inbound({"prompt": "x", "extra": 1}, venice=True), desk())
    with pytest.raises(BadRequest, match="'extra'"):
        await generate(inbound({"model": "m", "prompt": "x", "extra": 1}), desk())


@pytest.mark.asyncio
async def test_styles() -> None:
    answer = await listed_styles(inbound(b""), desk())
    assert "Film Noir" in answer.body["data"]
