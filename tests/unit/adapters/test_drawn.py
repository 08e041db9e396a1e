"""What was drawn becomes what was ordered; what is so already keeps its bytes; only what is said to be adult is blurred."""

import io
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageStat

from adapters.drawn import Drawn, made
from fakes.hostile_images import half_png, picture
from proxy.errors import Fault, UpstreamError
from proxy.media.images import read_about
from proxy.wire.images import Order


def order(**more: Any) -> Order:
    return Order(
        **{"model": "m", "prompt": "a ferry", "shape": "venice", "seed": 5, "width": 300, "height": 260, **more}
    )


async def one(data: bytes, *, adult: bool = False, **more: Any) -> bytes:
    done = await made(order(**more), [Drawn(data, adult)], 0.1, "up", "brush")
    assert done.blurred == (adult and more.get("safe", True))
    return done.pictures[0]


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@pytest.mark.asyncio
async def test_what_is_as_ordered_keeps_its_bytes() -> None:
    data = picture("PNG")
    assert await one(data, format="png") is data


@pytest.mark.asyncio
@pytest.mark.parametrize("format", ["jpeg", "png", "webp"])
async def test_size_format_and_metadata(format: str) -> None:
    got = await one(picture("JPEG", 640, 300), format=format, exif=True, negative_prompt="rain", style="Anime")
    assert (opened(got).size, opened(got).format) == ((300, 260), format.upper())
    about = read_about(got)
    assert (about["prompt"], about["negative_prompt"], about["seed"], about["model"]) == ("a ferry", "rain", 5, "brush")


@pytest.mark.asyncio
async def test_another_shape_is_cut_and_not_stretched() -> None:
    """A disc stays round: what is too wide loses as much on the left as on the right."""
    wide = Image.new("L", (600, 260), 0)
    wide.paste(255, (200, 30, 400, 230))  # a square of 200 in the middle
    out = io.BytesIO()
    wide.save(out, "PNG")
    left, top, right, bottom = opened(await one(out.getvalue(), format="png")).convert("L").point(
        lambda value: 255 if value > 128 else 0
    ).getbbox() or (0, 0, 0, 0)
    assert (right - left, bottom - top) == (200, 200)
    assert abs(left - (300 - right)) <= 1


@pytest.mark.asyncio
async def test_adult_pictures_are_blurred_in_safe_mode_only() -> None:
    data = picture("PNG")
    blurred, bare = await one(data, adult=True, format="png"), await one(data, adult=True, format="png", safe=False)
    assert bare is data
    # Noise has an edge at every pixel; behind the blur there is none left.
    edges = [ImageStat.Stat(ImageChops.difference(i, ImageChops.offset(i, 1, 0)).convert("L")).mean[0] for i in (
        opened(data), opened(blurred),
    )]  # fmt: skip
    assert edges[1] < edges[0] / 50


@pytest.mark.asyncio
@pytest.mark.parametrize("data", [b"", b"nothing", half_png()])
async def test_what_is_no_picture_is_the_upstream_s_fault(data: bytes) -> None:
    with pytest.raises(UpstreamError) as caught:
        await one(data, format="webp")
    assert caught.value.fault is Fault.MALFORMED
    assert caught.value.accepted is True
