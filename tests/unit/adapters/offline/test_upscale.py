"""Upscaling keeps Venice's rules for scale and size, and its results are real enlargements."""

import asyncio
import io

import pytest
from PIL import Image, ImageChops, ImageStat

from adapters.offline.upscale import target_size, upscale
from fakes import hostile_images as hostile
from proxy.errors import BadRequest, BodyTooLarge
from proxy.media.images import Finish
from proxy.media.inspect import MAX_UPSCALED_PIXELS, ImageHeader
from proxy.media.payload import Payload


def upscaled(data: bytes, **options):
    return asyncio.run(upscale(Payload(data), Finish("png"), **options))


@pytest.mark.parametrize(
    ("scale", "size"), [(1.01, (303, 263)), (1.5, (450, 390)), (2, (600, 520)), (4, (1_200, 1_040))]
)
def test_sizes_are_exact(scale, size):
    picture = upscaled(hostile.picture("jpeg"), scale=scale)
    with Image.open(io.BytesIO(picture.data)) as image:
        assert (image.size, image.format) == (size, "PNG")


def test_the_result_is_the_same_picture_larger():
    source = Image.radial_gradient("L").convert("RGB").resize((300, 300))
    out = io.BytesIO()
    source.save(out, "PNG")
    with Image.open(io.BytesIO(upscaled(out.getvalue(), scale=3).data)) as larger:
        back = larger.resize((300, 300), Image.Resampling.BOX)
    assert max(ImageStat.Stat(ImageChops.difference(source, back)).mean) < 1


def test_enhance_sharpens_and_replication_says_how_much():
    data = hostile.picture("png")
    plain, mild, strong = (
        upscaled(data, scale=2, **more) for more in ({}, {"enhance": True}, {"enhance": True, "replication": 1.0})
    )

    def detail(picture):
        with Image.open(io.BytesIO(picture.data)) as image:
            return ImageStat.Stat(image).stddev[0]

    assert detail(plain) < detail(mild) < detail(strong)


@pytest.mark.parametrize("scale", [0.99, 4.01, -1, float("nan"), float("inf")])
def test_scales_outside_are_refused(scale):
    with pytest.raises(BadRequest, match="from 1 to 4") as caught:
        upscaled(hostile.png(300, 300), scale=scale, enhance=True)
    assert caught.value.param == "scale"


def test_scale_one_needs_enhance():
    with pytest.raises(BadRequest, match="more than 1 where enhance is false"):
        upscaled(hostile.png(300, 300), scale=1)
    picture = upscaled(hostile.png(300, 300), scale=1, enhance=True)
    assert (picture.width, picture.height) == (300, 300)


def test_the_result_has_a_limit_and_a_scale_of_four_shrinks_to_it():
    header = ImageHeader("png", 2_048, 2_048)
    assert target_size(header, 2, enhance=False) == (4_096, 4_096)
    with pytest.raises(BodyTooLarge, match="at most 16,777,216 pixels, got 4116x4116"):
        target_size(header, 2.01, enhance=False)
    assert target_size(header, 4, enhance=False) == (4_096, 4_096)
    for side in [(1_025, 1_025), (5_000, 3_000), (16_777_216, 1), (70_000, 239)]:
        width, height = target_size(ImageHeader("png", *side), 4, enhance=False)
        assert width >= side[0]
        assert height >= side[1]
        assert width * height <= MAX_UPSCALED_PIXELS
    assert target_size(ImageHeader("png", 1_024, 1_024), 4, enhance=False) == (4_096, 4_096)


def test_source_limits_at_both_edges():
    assert upscaled(hostile.png(256, 256), scale=2).width == 512
    with pytest.raises(BadRequest, match="at least 65,536"):
        upscaled(hostile.png(255, 256), scale=2)
    with pytest.raises(BodyTooLarge, match="at most 16,777,216"):
        upscaled(hostile.png(4_097, 4_096, rows=1), scale=4)


def test_a_turned_photograph_comes_upright_and_larger():
    exif = Image.Exif()
    exif[0x0112] = 6
    out = io.BytesIO()
    Image.new("RGB", (400, 300)).save(out, "JPEG", exif=exif)
    picture = upscaled(out.getvalue(), scale=2)
    assert (picture.width, picture.height) == (600, 800)
