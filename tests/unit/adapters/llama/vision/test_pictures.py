"""Pictures of a chat are found, fetched and measured before the engine hears of them."""

import base64
import io
import struct
from typing import Any

import pytest
from PIL import Image

from adapters.llama.spec import Generate
from adapters.llama.vision import pictures
from adapters.llama.vision.pictures import MOST, Pictures, lies
from fakes.gguf_projector import png
from fakes.rawserver import Peer, RawServer, answer
from proxy.errors import BadRequest, BodyTooLarge, RequestError


def data_url(data: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def asked(*urls: str) -> Generate:
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return Generate(messages=[{"role": "system", "content": "s"}, {"role": "user", "content": [_text("a"), *parts]}])


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


@pytest.mark.asyncio
async def test_words_alone_stay_as_they_are() -> None:
    plain = Generate(messages=[{"role": "user", "content": "a"}])
    assert await Pictures().shown(plain) is plain


@pytest.mark.asyncio
async def test_data_urls_become_files_beside_the_messages() -> None:
    one, two = png(1), png(2)
    given = asked(data_url(one), data_url(two), data_url(one))
    before = str(given.messages)
    shown = await Pictures().shown(given)
    assert shown.images == [one, two], "what is shown twice is carried once"
    assert shown.messages is not None
    assert shown.messages[0] == {"role": "system", "content": "s"}
    content = shown.messages[1]["content"]
    assert content[0] == _text("a")
    assert [part["image"] for part in content[1:]] == [0, 1, 0]
    assert str(given.messages) == before, "the call's own objects are as they were"


@pytest.mark.asyncio
async def test_webp_is_made_png() -> None:
    out = io.BytesIO()
    Image.new("RGB", (30, 20), (200, 10, 10)).save(out, "WEBP", lossless=True)
    shown = await Pictures().shown(asked(data_url(out.getvalue(), "webp")))
    assert Image.open(io.BytesIO(shown.images[0])).format == "PNG"
    assert Image.open(io.BytesIO(shown.images[0])).size == (30, 20)


@pytest.mark.asyncio
async def test_a_url_is_fetched_where_the_policy_lets_it() -> None:
    async def play(peer: Peer) -> None:
        heard = await peer.request()
        assert heard.target == "/one.png"
        await peer.send(answer(png(3), "200 OK", "content-type: image/png"))

    async with RawServer(play) as server:
        shown = await Pictures((server.url,)).shown(asked(f"{server.url}/one.png"))
        assert shown.images == [png(3)]
        with pytest.raises(BadRequest, match="not on the list"):
            await Pictures(("files.example.com",)).shown(asked(f"{server.url}/one.png"))


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1/a.png", "only https"),
        ("https://127.0.0.1/a.png", "not public"),
        ("https://[::ffff:10.0.0.1]/a.png", "not public"),
        ("https://169.254.169.254/latest/meta-data", "not public"),
        ("https://localhost/a.png", "not public"),
        ("https://metadata.google.internal/", "not allowed"),
        ("https://user:word@example.com/a.png", "credentials"),
        ("https://example.com:22/a.png", "port"),
        ("file:///etc/passwd", "expected an https URL"),
        ("ftp://example.com/a.png", "expected an https URL"),
        ("data:image/png;base64,****", "base64"),
        ("data:image/png;base64,aGVsbG8=", "got something else"),
        (data_url(png(1), "jpeg"), "content type"),
        (data_url(png(1)[:200]), "whole PNG"),
        (data_url(png(1, 8, 8 * 201)), "at most 1:200"),
    ],
)
async def test_what_is_no_picture_for_us_is_refused_by_its_name(url: str, said: str) -> None:
    with pytest.raises(RequestError, match=said) as caught:
        await Pictures().shown(asked(data_url(png(1)), url))
    assert caught.value.status == 400
    assert caught.value.param == "messages[1].content[2].image_url.url"


@pytest.mark.asyncio
async def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadRequest, match=f"at most {MOST} images"):
        await Pictures().shown(asked(*[data_url(png(1))] * (MOST + 1)))
    many = asked(data_url(png(1)), data_url(png(2)))
    monkeypatch.setattr(pictures, "ALL_PIXELS", 56 * 56)
    with pytest.raises(BodyTooLarge, match="together"):
        await Pictures().shown(many)
    monkeypatch.undo()
    monkeypatch.setattr(pictures, "MOST_BYTES", 100)
    with pytest.raises(BodyTooLarge, match="at most 0 MiB"):
        await Pictures().shown(many)
    monkeypatch.undo()
    monkeypatch.setattr(pictures, "MAX_UPSCALED_PIXELS", 3000)
    with pytest.raises(BodyTooLarge, match="3,000 pixels") as caught:
        await Pictures().shown(many)
    assert caught.value.param == "messages[1].content[1].image_url.url"


@pytest.mark.asyncio
async def test_a_part_without_a_url() -> None:
    given = Generate(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}])
    with pytest.raises(BadRequest, match="expected a URL"):
        await Pictures().shown(given)
    bare = Generate(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": data_url(png(1))}]}])
    assert (await Pictures().shown(bare)).images == [png(1)]


def photograph(orientation: int | None) -> bytes:
    about = Image.Exif()
    if orientation is not None:
        about[0x0112] = orientation
    out = io.BytesIO()
    Image.new("RGB", (40, 20), (10, 200, 10)).save(out, "JPEG", **({} if orientation is None else {"exif": about}))
    return out.getvalue()


@pytest.mark.asyncio
async def test_a_photograph_is_looked_at_upright() -> None:
    for orientation in (None, 1):
        straight = photograph(orientation)
        assert not lies(straight)
        assert (await Pictures().shown(asked(data_url(straight, "jpeg")))).images == [straight]
    shown = await Pictures().shown(asked(data_url(photograph(6), "jpeg")))
    assert Image.open(io.BytesIO(shown.images[0])).size == (20, 40)
    assert not lies(shown.images[0])


@pytest.mark.parametrize("tail", [b"", b"II", b"MM\0*\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff" + b"\x12\x01" * 9])
def test_strange_exif_is_no_orientation_or_one(tail: bytes) -> None:
    assert lies(b"\xff\xd8\xff\xe1\0\x20Exif\0\0" + tail) in (False, True)


def test_both_byte_orders() -> None:
    for mark, order in ((b"II", "<"), (b"MM", ">")):
        for value in range(1, 9):
            tiff = mark + struct.pack(order + "HIHHHIHH", 42, 8, 1, 0x0112, 3, 1, value, 0)
            assert lies(b"\xff\xd8\xff\xe1\0\x20Exif\0\0" + tiff) is (value > 1)
