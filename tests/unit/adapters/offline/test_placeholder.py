"""Placeholders are deterministic, exactly sized, say what they are, and show every part of the brief."""

import asyncio
import io

import pytest
from msgspec.structs import replace
from PIL import Image, ImageChops

from adapters.offline import placeholder
from adapters.offline.placeholder import Brief
from fakes import hostile_images as hostile
from proxy.errors import BadRequest, BodyTooLarge
from proxy.media import canvas, images
from proxy.media.images import Finish
from proxy.media.payload import Payload

BRIEF = Brief("a lighthouse at dusk", 320, 256, seed=7, negative_prompt="rain", more={"steps": 20})


def drawn(brief: Brief, finish: Finish | None = None, **options):
    return asyncio.run(placeholder.generate(brief, finish or Finish("png"), **options))


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@pytest.mark.parametrize("format", images.OUTPUTS)
def test_the_same_brief_gives_the_same_bytes(format):
    assert drawn(BRIEF, Finish(format), n=2) == drawn(BRIEF, Finish(format), n=2)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 8},
        {"prompt": "a lighthouse at dawn"},
        {"negative_prompt": "snow"},
        {"negative_prompt": ""},
        {"model": "other"},
        {"width": 321},
        {"more": {"steps": 21}},
        {"transparent": True},
    ],
)
def test_every_part_of_the_brief_is_seen(change):
    assert drawn(BRIEF)[0].data != drawn(replace(BRIEF, **change))[0].data


SMALL = [(1, 1), (7, 500), (64, 64), (256, 256), (512, 512)]
LARGE = [(1_280, 1_280), (1_536, 1_024), (1_024, 1_536), (1_792, 1_024)]


@pytest.mark.parametrize(
    ("size", "format"),
    [*((size, format) for size in SMALL for format in images.OUTPUTS), *((size, "jpeg") for size in LARGE)],
)
def test_the_size_is_exact_and_decoders_agree(size, format):
    picture = drawn(replace(BRIEF, width=size[0], height=size[1]), Finish(format))[0]
    image = opened(picture.data)
    assert (image.size, image.format.lower()) == (size, format)


@pytest.mark.parametrize(("width", "height"), [(0, 10), (10, 4_097), (-1, 5)])
def test_impossible_sizes_are_refused(width, height):
    with pytest.raises(BadRequest, match="expected 1 to 4096"):
        drawn(replace(BRIEF, width=width, height=height))


def test_several_pictures_count_their_seeds_up():
    several = drawn(BRIEF, Finish("png", about={}), n=3)
    assert [images.read_about(picture.data)["seed"] for picture in several] == [7, 8, 9]
    assert several[1].data == drawn(replace(BRIEF, seed=8), Finish("png", about={}))[0].data


@pytest.mark.parametrize("format", images.OUTPUTS)
def test_metadata_tells_all_that_is_needed_to_draw_it_again(format):
    about = images.read_about(drawn(BRIEF, Finish(format, about={"style_preset": "Anime"}))[0].data)
    expected = {"prompt": BRIEF.prompt, "negative_prompt": "rain", "seed": 7, "width": 320, "height": 256, "steps": 20}
    assert expected.items() <= about.items()
    assert about["model"] == "dev-placeholder"
    assert about["style_preset"] == "Anime"
    assert "no model was used" in about["note"]


def test_it_says_that_it_is_a_placeholder(monkeypatch):
    written: list[str] = []
    panel = canvas.panel

    def listening(image, lines, **options):
        written.extend(line.text for line in lines)
        panel(image, lines, **options)

    monkeypatch.setattr(canvas, "panel", listening)
    placeholder.paint(BRIEF)
    assert written[0] == "PLACEHOLDER - no model was used"
    assert "a lighthouse at dusk" in written
    assert "model dev-placeholder  |  seed 7  |  320 x 256  |  steps 20" in written
    label = Image.new("RGB", (320, 256))
    panel(label, [canvas.Line(placeholder.LABEL)], shade=0)
    assert label.getbbox() is not None


def test_a_transparent_ground_is_transparent_and_an_ordinary_one_is_not():
    assert opened(drawn(replace(BRIEF, transparent=True))[0].data).getchannel("A").getextrema()[0] == 0
    assert opened(drawn(BRIEF)[0].data).mode == "RGB"


@pytest.mark.parametrize(
    "prompt", ["日本の灯台", "маяк на закате", "منارة", "😀" * 50, "x" * 1_500, "a\nb\tc\0d", " ", "\ud800"]
)
def test_any_prompt_can_be_drawn(prompt):
    for format in images.OUTPUTS:
        picture = drawn(replace(BRIEF, prompt=prompt), Finish(format, about={}))[0]
        assert opened(picture.data).size == (320, 256)
        assert images.read_about(picture.data)["prompt"] == prompt


def test_blurred_ones_hide_the_prompt():
    clear, blurred = drawn(BRIEF)[0], drawn(BRIEF, blurred=True)[0]
    assert len(blurred.data) < len(clear.data) / 2


def test_an_edit_keeps_the_picture_and_adds_a_banner():
    source = hostile.picture("png", 400, 400)
    picture = asyncio.run(placeholder.edit(Payload(source), "make it red", Finish("png")))
    changed = ImageChops.difference(opened(source), opened(picture.data)).getbbox()
    assert (picture.width, picture.height) == (400, 400)
    assert changed is not None
    assert changed[1] > 200
    other = asyncio.run(placeholder.edit(Payload(source), "make it blue", Finish("png")))
    assert other.data != picture.data


def test_an_edit_outlines_the_mask():
    source = hostile.picture("png", 400, 400)
    mask = Image.new("RGBA", (400, 400), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (50, 50, 150, 150))
    out = io.BytesIO()
    mask.save(out, "PNG")
    given = Payload(out.getvalue(), field="mask")
    picture = asyncio.run(placeholder.edit(Payload(source), "here", Finish("png"), mask=given))
    assert opened(picture.data).getpixel((50, 100)) == (255, 64, 160)
    assert opened(picture.data).getpixel((200, 30)) == opened(source).getpixel((200, 30))


def test_a_mask_of_another_size_is_refused_by_name():
    mask = Payload(hostile.png(300, 300), field="mask")
    with pytest.raises(BadRequest, match="expected the size of the image, 400x400") as caught:
        asyncio.run(placeholder.edit(Payload(hostile.png(400, 400)), "x", Finish(), mask=mask))
    assert caught.value.param == "mask"


def test_edit_limits_at_both_edges():
    asyncio.run(placeholder.edit(Payload(hostile.png(256, 256)), "x", Finish()))
    picture = asyncio.run(placeholder.edit(Payload(hostile.png(7_680, 4_320, colour=0)), "x", Finish("jpeg")))
    assert (picture.width, picture.height) == (3_840, 2_160)
    tiny = asyncio.run(placeholder.edit(Payload(hostile.png(3, 2)), "x", Finish()))  # the least is the route's to say
    assert (tiny.width, tiny.height) == (3, 2)
    with pytest.raises(BodyTooLarge):
        asyncio.run(placeholder.edit(Payload(hostile.png(7_680, 4_321, rows=1)), "x", Finish()))
