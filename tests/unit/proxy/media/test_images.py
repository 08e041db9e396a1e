"""Pictures go in and out in every format, exactly sized; metadata survives; hostile ones stay in bounds."""

import asyncio
import base64
import io
import os
import subprocess
import sys

import pytest
from PIL import Image, ImageChops, ImageFilter, ImageStat

from fakes import hostile_images as hostile
from proxy.errors import BadRequest, BodyTooLarge
from proxy.media import images
from proxy.media.images import Finish
from proxy.media.inspect import check, inspect
from proxy.media.payload import Payload

ABOUT = {"prompt": "Zwölf Boote, 十二", "seed": 42, "model": "dev-placeholder", "steps": 20}


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def converted(data: bytes, finish: Finish, **options):
    return asyncio.run(images.convert(Payload(data), finish, **options))


@pytest.mark.parametrize("format", images.OUTPUTS)
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "I;16"])
def test_any_mode_becomes_any_format_of_the_exact_size(format, mode):
    source = io.BytesIO()
    noise = Image.effect_noise((301, 211), 60)
    (Image.new("I;16", (301, 211), 40_000) if mode == "I;16" else noise.convert(mode)).save(source, "PNG")
    picture = converted(source.getvalue(), Finish(format), size=(123, 77))
    image = opened(picture.data)
    assert (image.format.lower(), image.size) == (format, (123, 77))
    assert (picture.format, picture.width, picture.height) == (format, 123, 77)
    assert picture.content_type == f"image/{format}"


@pytest.mark.parametrize("format", images.OUTPUTS)
def test_metadata_survives_in_exif_and_only_when_asked(format):
    source = hostile.picture("png")
    picture = converted(source, Finish(format, about=ABOUT))
    assert images.read_about(picture.data) == ABOUT
    exif = opened(picture.data).getexif()
    assert exif[0x010E].encode("latin-1").decode() == ABOUT["prompt"]
    assert exif[0x0110] == "dev-placeholder"
    bare = converted(source, Finish(format))
    assert not opened(bare.data).getexif()
    assert images.read_about(bare.data) == {}


@pytest.mark.parametrize("format", ["jpeg", "webp"])
def test_quality_changes_the_size(format):
    source = hostile.picture("png")
    sizes = [len(converted(source, Finish(format, quality)).data) for quality in (0, 30, 60, 100)]
    assert sizes == sorted(set(sizes))


def test_transparency_survives_in_png_and_webp_and_is_white_in_jpeg():
    source = io.BytesIO()
    Image.new("RGBA", (64, 64), (255, 0, 0, 0)).save(source, "PNG")
    for format in ("png", "webp"):
        assert opened(converted(source.getvalue(), Finish(format)).data).getpixel((5, 5))[3] == 0
    assert opened(converted(source.getvalue(), Finish("jpeg")).data).getpixel((5, 5)) == (255, 255, 255)


def test_a_png_palette_with_transparency_keeps_it():
    source = io.BytesIO()
    Image.new("P", (64, 64), 0).save(source, "PNG", transparency=0)
    assert opened(converted(source.getvalue(), Finish("png")).data).getpixel((5, 5))[3] == 0


def test_sixteen_bits_a_channel_keep_their_brightness():
    source = io.BytesIO()
    Image.new("I;16", (64, 64), 32_896).save(source, "PNG")
    assert opened(converted(source.getvalue(), Finish("png")).data).getpixel((5, 5)) == (128, 128, 128)


def test_a_photograph_comes_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    source = io.BytesIO()
    Image.new("RGB", (300, 200)).save(source, "JPEG", exif=exif)
    picture = converted(source.getvalue(), Finish("png"))
    assert (picture.width, picture.height) == (200, 300)
    assert not opened(picture.data).getexif().get(0x0112)


def test_blur_leaves_nothing_to_recognise():
    source = io.BytesIO()
    board = Image.new("L", (320, 320))
    for x in range(0, 320, 20):
        for y in range((x // 20 % 2) * 20, 320, 40):
            board.paste(255, (x, y, x + 20, y + 20))
    board.convert("RGB").save(source, "PNG")
    blurred = opened(converted(source.getvalue(), Finish("png"), blurred=True).data).convert("L")
    assert blurred.size == (320, 320)
    assert ImageStat.Stat(board).stddev[0] > 120
    assert ImageStat.Stat(blurred).stddev[0] < 15


def test_lanczos_to_the_same_size_changes_nothing_and_sharpening_does():
    image = opened(hostile.picture("png"))
    before = image.copy()
    assert images.resize(image, *image.size) is image
    assert not ImageChops.difference(image, before).getbbox()
    assert ImageChops.difference(before, images.resize(image, *image.size, sharpen=0.5)).getbbox()


@pytest.mark.parametrize("kind", ["alpha", "white"])
def test_masks_of_both_kinds_mark_the_same_area(kind):
    if kind == "alpha":
        mask = Image.new("RGBA", (100, 100), (0, 0, 0, 255))
        mask.paste((0, 0, 0, 0), (20, 20, 60, 60))
    else:
        mask = Image.new("RGB", (100, 100))
        mask.paste((255, 255, 255), (20, 20, 60, 60))
    area = images.masked(Image.new("RGB", (200, 200)), mask)
    assert (area.size, area.mode, area.getbbox()) == ((200, 200), "L", (40, 40, 120, 120))


def test_webp_sides_are_limited_before_the_codec_complains():
    with pytest.raises(BadRequest, match="16383"):
        converted(hostile.picture("png"), Finish("webp"), size=(16_384, 2))


@pytest.mark.parametrize(
    "data",
    [
        hostile.half_png(),
        hostile.picture("jpeg")[:-500],
        hostile.picture("png").replace(b"IDAT", b"JDAT", 1),
        hostile.webp_extended(300, 300),
        hostile.jpeg_header(300, 300),
        hostile.gif_growing(),
        b"RIFF\x22\0\0\0WEBPVP8L\x16\0\0\0\x2f\x2b\xc1\x4a\0" + bytes(17),
    ],
)
def test_damaged_pixels_are_a_400(data):
    with pytest.raises(BadRequest, match="expected a whole") as caught:
        converted(data, Finish("png"))
    assert caught.value.code == "invalid_image"


def test_text_bombs_in_png_are_refused():
    import zlib

    bomb = hostile.chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(50_000_000), 9))
    data = hostile.png(300, 300)
    with pytest.raises(BadRequest, match="expected a whole PNG"):
        converted(data[:33] + bomb + data[33:], Finish("png"))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P"])
def test_a_large_png_decoded_in_bands_is_the_same_picture(mode):
    source = io.BytesIO()
    noise = Image.merge("RGBA", [Image.effect_noise((1_301, 1_007), 40 + 9 * i) for i in range(4)])
    noise.convert("RGB").convert(mode).save(source, "PNG") if mode == "P" else noise.convert(mode).save(source, "PNG")
    payload = Payload(source.getvalue())
    decoded = images.decode(payload, inspect(payload))
    expected = opened(source.getvalue()).convert(decoded.mode)
    assert decoded.size == expected.size
    assert ImageChops.difference(decoded, expected).getextrema() == ((0, 0),) * len(decoded.getbands())


@pytest.mark.parametrize("colour", [0, 2, 3, 4, 6])
def test_the_largest_png_is_worked_at_half_its_size(colour):
    payload = Payload(hostile.png(7_680, 4_320, colour=colour))
    assert images.decode(payload, check(payload)).size == (3_840, 2_160)


def test_halving_by_bands_averages_as_a_whole_would():
    rows = Image.linear_gradient("L").resize((4_099, 4_101))
    source = io.BytesIO()
    rows.save(source, "PNG")
    payload = Payload(source.getvalue())
    halved = images.decode(payload, inspect(payload))
    difference = ImageChops.difference(halved, rows.convert("RGB").reduce(2))
    assert halved.size == (2_050, 2_051)
    assert max(high for _, high in difference.getextrema()) <= 1


@pytest.mark.parametrize("format", ["jpeg"])
def test_a_large_jpeg_is_worked_at_half_its_size(format):
    source = io.BytesIO()
    Image.new("L", (6_000, 5_000), 200).save(source, format)
    payload = Payload(source.getvalue())
    assert images.decode(payload, check(payload)).size == (3_000, 2_500)


def test_a_large_png_with_missing_rows_is_a_400():
    payload = Payload(hostile.png(5_000, 4_000, colour=0, rows=3_000))
    with pytest.raises(BadRequest, match=r"end after \d+ of 4000 rows"):
        images.decode(payload, check(payload))


@pytest.mark.parametrize(
    "data",
    [
        hostile.png(7_680, 4_320, depth=16, rows=0),
        hostile.webp_extended(4_000, 4_000),
        hostile.jpeg_header(5_700, 5_700).replace(b"\xff\xc0", b"\xff\xc2"),
    ],
)
def test_what_takes_too_much_memory_to_decode_is_refused_before(data):
    with pytest.raises(BodyTooLarge, match="at most 128 MiB"):
        images.affordable("image", check(Payload(data)))


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_resizing_and_sharpening_in_bands_is_as_good_as_in_one_piece(mode):
    image = Image.merge(mode, [Image.effect_noise((700, 900), 12 + 5 * i) for i in range(len(mode))])
    whole = image.resize((1_500, 1_950), Image.Resampling.LANCZOS)
    bands = images.resize(image, 1_500, 1_950)
    assert max(high for _, high in ImageChops.difference(whole, bands).getextrema()) <= 8
    assert images.resize(image, 333, 444).tobytes() == image.resize((333, 444), Image.Resampling.LANCZOS).tobytes()
    sharp = whole.filter(ImageFilter.UnsharpMask(radius=2, percent=120, threshold=2))
    sharpened = images.resize(bands, 1_500, 1_950, sharpen=0.5)
    assert max(ImageStat.Stat(ImageChops.difference(sharp, sharpened)).mean) < 0.05


PROBE = """
import asyncio, base64, os, sys
from fakes import hostile_images as hostile
from proxy.errors import RequestError
from adapters.offline import placeholder, upscale
from proxy.media.images import Finish
from proxy.media.payload import Payload

def rss():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def peak():
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmHWM"))

SEEDS = [
    (hostile.png(10_000, 10_000, rows=4_000, padding=1 << 20), None),
    (hostile.png(7_680, 4_320, padding=1 << 20), None),
    (hostile.png(7_680, 4_320, colour=3, padding=1 << 20), None),
    (hostile.png(7_000, 4_700, depth=16, padding=1 << 20), None),
    (hostile.half_png(2_000, 1_000), None),
    (hostile.png(6_000, 5_000, padding=1 << 20), "image/jpeg"),
    (hostile.png(4_000, 4_000, padding=1 << 20)[:-20], None),
    (hostile.webp_extended(16_000, 2_000) + bytes(1 << 20), None),
    (hostile.gif_growing() + bytes(1 << 20), None),
]

async def work(i, payload):
    try:
        if i % 3:
            await placeholder.edit(payload, "a prompt", Finish("jpeg"))
        else:
            await upscale.upscale(payload, Finish("jpeg"), scale=4)
        return 200
    except RequestError as error:
        return error.status

async def main():
    small = Payload(hostile.png(300, 300))
    await placeholder.edit(small, "warm", Finish("jpeg"))
    await upscale.upscale(small, Finish("jpeg"))
    before = rss()
    open("/proc/self/clear_refs", "w").write("5")
    uploads = []
    while sum(size for size, _ in uploads) < 64 << 20:
        data, declared = SEEDS[len(uploads) % len(SEEDS)]
        wire = base64.b64encode(data) if len(uploads) % 2 else bytes(bytearray(data))
        upload = Payload.from_text(wire) if len(uploads) % 2 else Payload(wire, declared=declared)
        uploads.append((len(wire), upload))
    sent = sum(size for size, _ in uploads)
    answers = await asyncio.gather(*(work(i, upload) for i, (_, upload) in enumerate(uploads)))
    grown = peak() - before
    del uploads, upload, wire
    for _ in range(40):  # the workshop tidies up a second after its last job
        if rss() - before < 25 << 20:
            break
        await asyncio.sleep(0.1)
    print(sent >> 20, grown >> 20, (rss() - before) >> 20, sorted(set(answers)), answers.count(200))

asyncio.run(main())
"""


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux to reset the peak RSS")
def test_64_mib_of_hostile_uploads_in_parallel_stay_under_200_mb():
    run = subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore::ResourceWarning", "-c", PROBE],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((".", "tests"))},
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    sent, grown, left, *answers = run.stdout.split()
    assert int(sent) >= 64
    assert int(grown) < 200, run.stdout
    assert int(left) < 40, run.stdout
    assert "500" not in "".join(answers)
    assert "413" in "".join(answers)


def test_base64_and_bytes_decode_alike():
    data = hostile.picture("png")
    plain, text = Payload(data), Payload.from_text(base64.b64encode(data))
    assert images.decode(text, inspect(text)).tobytes() == images.decode(plain, inspect(plain)).tobytes()
