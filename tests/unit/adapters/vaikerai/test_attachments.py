"""Files that go in: inline, uploaded, or by a URL that is never fetched here."""

import base64

import pytest

from adapters.vaikerai.api import Api
from adapters.vaikerai.attachments import MAX_INLINE, placed
from fakes.hostile_images import picture
from fakes.predictions import predicting
from proxy.errors import BadRequest, BodyTooLarge
from proxy.media.payload import Payload

PNG = picture("png", 64, 64)
LARGE = Payload(PNG + bytes(MAX_INLINE))


def api_of(upstream: object) -> Api:
    return upstream._api  # type: ignore[attr-defined, no-any-return]


@pytest.mark.asyncio
async def test_small_ones_go_inline_with_the_type_that_they_have() -> None:
    async with predicting() as (double, upstream):
        api = api_of(upstream)
        inline = "data:image/png;base64," + base64.b64encode(PNG).decode()
        assert await placed(api, Payload(PNG, declared="image/jpeg"), param="image") == inline
        assert await placed(api, inline, param="image") == inline
        assert await placed(api, "https://pictures.example/a.png", param="image") == "https://pictures.example/a.png"
        assert double.requests == []


@pytest.mark.asyncio
async def test_large_ones_are_uploaded_or_refused() -> None:
    async with predicting(preset="replicate") as (double, upstream):
        url = await placed(api_of(upstream), LARGE, param="image")
        assert url.startswith(f"{double.base_url}/files/")
        (sent,) = double.seen("POST", "/files$")
        assert b"content-type: image/png\r\n" in sent.body
    async with predicting() as (_, upstream):
        with pytest.raises(BodyTooLarge) as caught:
            await placed(api_of(upstream), LARGE, param="messages[0].content[1]")
        assert caught.value.param == "messages[0].content[1]"


@pytest.mark.asyncio
@pytest.mark.parametrize("given", ["ftp://x/a.png", "a.png", "", "data:image/png;base64,@@@", "data:image/png,x"])
async def test_what_is_no_file(given: str) -> None:
    async with predicting() as (_, upstream):
        with pytest.raises(BadRequest) as caught:
            await placed(api_of(upstream), given, param="image")
        assert caught.value.param == "image"
