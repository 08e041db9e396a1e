"""A body becomes a Call, or a refusal in the words of its prefix."""

from typing import Any

import pytest

from fakes.asked import desk, inbound
from proxy.call import Operation
from proxy.errors import BadRequest, BodyTooLarge, MediaUnsupported
from routes.chat import create

BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.asyncio
@pytest.mark.parametrize("stream", [True, False, None])
async def test_a_call(stream: bool | None) -> None:
    call = await create(inbound({**BODY, "stream": stream, "vendor": [1], "seed": None}), desk())
    assert (call.id, call.operation, call.stream) == ("req_test", Operation.CHAT, bool(stream))
    assert set(call.fields) == {"model", "messages", "vendor"} | ({"stream"} if stream is not None else set())
    assert call.request.messages[0].text == "hi"


@pytest.mark.asyncio
@pytest.mark.parametrize("venice", [False, True], ids=["v1", "api/v1"])
@pytest.mark.parametrize(
    ("more", "both"),
    [({"vendor": 1}, False), ({"seed": 0}, False), ({"top_logprobs": 1}, True), ({"temperature": 9}, True)],
)
async def test_refused(more: dict[str, Any], both: bool, venice: bool) -> None:
    request = inbound({**BODY, **more}, venice=venice)
    if not (both or venice):
        assert await create(request, desk())
        return
    with pytest.raises(BadRequest) as caught:
        await create(request, desk())
    assert caught.value.param == next(iter(more))


@pytest.mark.asyncio
async def test_what_is_not_even_read() -> None:
    with pytest.raises(MediaUnsupported):
        await create(inbound(BODY, content_type="text/plain"), desk())
    small = desk()
    small.max_body = 10
    with pytest.raises(BodyTooLarge):
        await create(inbound(BODY), small)
