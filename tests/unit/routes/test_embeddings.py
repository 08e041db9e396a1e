"""The head is checked in the dialect of the prefix before anybody is called."""

import pytest

from fakes.asked import desk, inbound
from proxy.call import Operation
from proxy.errors import BadRequest, MediaUnsupported
from routes.embeddings import create


@pytest.mark.asyncio
async def test_a_call() -> None:
    call = await create(inbound({"model": "m", "input": ["a"], "extra": 1, "user": None}), desk())
    assert (call.operation, call.request.model, call.stream) == (Operation.EMBEDDINGS, "m", False)
    assert sorted(call.fields) == ["extra", "input", "model"]


@pytest.mark.asyncio
async def test_refusals() -> None:
    with pytest.raises(BadRequest, match="'extra'"):
        await create(inbound({"model": "m", "input": ["a"], "extra": 1}, venice=True), desk())
    with pytest.raises(BadRequest, match="input"):
        await create(inbound({"model": "m", "input": []}), desk())
    with pytest.raises(MediaUnsupported):
        await create(inbound(b"model=m", content_type="application/x-www-form-urlencoded"), desk())
