"""Headers are read right for every format, and what lies is refused by name before anything is decoded."""

import base64
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fakes import hostile_images as hostile
from proxy.errors import BadRequest, BodyTooLarge, RequestError
from proxy.media.inspect import MAX_PIXELS, ImageHeader, check, inspect, sniff
from proxy.media.payload import Payload

SAMPLES = [
    ("png", "RGB", {}),
    ("png", "RGBA", {}),
    ("png", "L", {}),
    ("png", "P", {}),
    ("jpeg", "RGB", {"quality": 40}),
    ("jpeg", "L", {"progressive": True}),
    ("jpeg", "CMYK", {}),
    ("webp", "RGB", {"quality": 40}),
    ("webp", "RGB", {"lossless": True}),
    ("webp", "RGBA", {"lossless": True}),
    ("webp", "RGBA", {"quality": 30, "exif": b"Exif\0\0II*\0\x08\0\0\0\0\0"}),
    ("gif", "P", {}),
]


@pytest.mark.parametrize(("format", "mode", "options"), SAMPLES)
@pytest.mark.parametrize("size", [(300, 260), (1, 7), (513, 1)])
def test_reads_what_pillow_reads(format, mode, options, size):
    data = hostile.picture(format, *size, mode=mode, **options)
    header = inspect(Payload(data))
    with Image.open(io.BytesIO(data)) as image:
        assert (header.format, header.width, header.height) == (image.format.lower(), *image.size)


@pytest.mark.parametrize(("format", "mode", "options"), SAMPLES)
def test_reads_the_same_through_base64(format, mode, options):
    data = hostile.picture(format, mode=mode, **options)
    assert inspect(Payload.from_text(base64.b64encode(data))) == inspect(Payload(data))


def test_finds_the_frame_behind_long_metadata():
    exif = Image.Exif()
    exif[0x010E] = "x" * 60_000
    data = hostile.picture("jpeg", 321, 123, exif=exif, icc_profile=bytes(300_000))
    assert inspect(Payload(data)).width == 321


@pytest.mark.parametrize("declared", ["image/png", "IMAGE/PNG; charset=x", "application/octet-stream", None, ""])
def test_takes_honest_and_absent_content_types(declared):
    assert inspect(Payload(hostile.png(9, 8), declared=declared)).width == 9


@pytest.mark.parametrize("declared", ["image/jpeg", "image/webp", "text/plain", "application/pdf"])
def test_refuses_a_lying_content_type(declared):
    with pytest.raises(BadRequest, match=r"declared as .* its bytes are image/png") as caught:
        inspect(Payload(hostile.png(300, 300), declared=declared, field="image[1]"))
    assert caught.value.param == "image[1]"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"%PDF-1.7 and more than sixteen bytes", "something else"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "something else"),
        (hostile.MAGIC, "IHDR"),
        (hostile.png(300, 300)[:30], "IHDR"),
        (hostile.png(300, 300)[:-12], "cut short"),
        (hostile.png(300, 300)[:200], "cut short"),
        (hostile.png(300, 300).replace(b"IHDR\0\0\x01", b"IHDR\0\0\x02"), "checksum"),
        (hostile.png(300, 300, first=b"\0\0\x01\0\0\0\x01\0\x07\x02\0\0\0"), "does not have"),
        (hostile.png(0, 300), "zero"),
        (b"\xff\xd8\xff", "JPEG"),
        (b"\xff\xd8" + b"\xff" * 500, "JPEG"),
        (b"\xff\xd8\xff\xe0\xff\xff" + bytes(70_000), "JPEG"),
        (hostile.picture("jpeg")[:120], "JPEG"),
        (b"\xff\xd8" + b"\xff\xe1\0\2" * 5_000, "JPEG"),
        (hostile.picture("webp")[:-40], "shorter"),
        (hostile.picture("webp")[:18], "shorter"),
        (b"RIFF\x12\0\0\0WEBPVP9 " + bytes(20), "neither"),
        (b"GIF89a\1", "cut short"),
    ],
)
def test_refuses_what_is_damaged(data, words):
    with pytest.raises(BadRequest, match=words) as caught:
        inspect(Payload(data))
    assert caught.value.status == 400
    assert caught.value.param == "image"


@pytest.mark.parametrize("size", [(256, 256), (65_536, 1), (7_680, 4_320)])
def test_takes_sizes_at_both_edges(size):
    assert check(Payload(hostile.png(*size, rows=1))).pixels == size[0] * size[1]


def test_refuses_one_pixel_row_too_few():
    with pytest.raises(BadRequest, match=r"at least 65,536 pixels, got 256x255 = 65,280") as caught:
        check(Payload(hostile.png(256, 255)))
    assert caught.value.code == "image_too_small"


@pytest.mark.parametrize(
    "data",
    [
        hostile.png(7_680, 4_321, rows=1),
        hostile.png(10_000, 10_000, rows=0),
        hostile.png(2**31 - 1, 2**31 - 1, rows=0, first=b"\x7f\xff\xff\xff\x7f\xff\xff\xff\x08\x02\0\0\0"),
        hostile.webp_extended(16_000_000, 16_000_000),
        hostile.jpeg_header(65_000, 65_000),
    ],
)
def test_refuses_too_many_pixels_by_the_header_alone(data):
    with pytest.raises(BodyTooLarge, match=f"at most {MAX_PIXELS:,} pixels") as caught:
        check(Payload(data))
    assert caught.value.status == 413


@given(
    st.binary(max_size=300), st.sampled_from([b"", hostile.MAGIC, b"\xff\xd8\xff", b"RIFF\x20\0\0\0WEBP", b"GIF89a"])
)
def test_any_bytes_give_a_header_or_a_refusal(noise, magic):
    try:
        header = inspect(Payload(magic + noise))
    except RequestError:
        return
    assert isinstance(header, ImageHeader)
    assert header.format == sniff(magic + noise)
