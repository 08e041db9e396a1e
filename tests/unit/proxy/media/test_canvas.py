"""What is drawn stays inside the picture, and text is shown or accounted for."""

import pytest
from PIL import Image

from proxy.media import canvas


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text", "plain text"),
        ("  many \n blanks\t", "many blanks"),
        ("Füße très", "Fusse tres"),
        ("日本の", "[2 CJK] [1 HIRAGANA]"),
        ("дом на горе ok", "[9 CYRILLIC] ok"),
        ("a\u200db\u0301", "ab"),
        ("😀", "[1 SYMBOL]"),
        ("no \u2014 it\u2019s\u2026", "no - it\u2019s\u2026"),
        ("", ""),
    ],
)
def test_letters_that_the_font_lacks_are_accounted_for(text, shown):
    assert canvas.readable(text) == shown


@pytest.mark.parametrize("size", [(1, 1), (9, 300), (300, 9), (64, 64), (640, 200)])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_panel_fits_any_picture(size, mode):
    image = Image.new(mode, size)
    canvas.panel(image, [canvas.Line("word " * 400, most_lines=30), canvas.Line("x" * 900)], at_bottom=True)
    assert (image.size, image.mode) == (size, mode)


def test_a_longer_text_takes_more_of_the_panel_and_is_cut_in_the_end():
    def inked(words: int) -> int:
        image = Image.new("RGB", (500, 500))
        canvas.panel(image, [canvas.Line("word " * words, most_lines=8)], shade=0)
        box = image.getbbox()
        return box[3] - box[1] if box else 0

    assert 0 < inked(3) < inked(40) < inked(90)
    assert inked(2_000) == inked(4_000) < 500


def test_an_outline_follows_the_area_and_leaves_the_rest():
    image, area = Image.new("RGB", (200, 200)), Image.new("L", (200, 200))
    area.paste(255, (50, 50, 150, 150))
    canvas.outline(image, area, (255, 0, 0))
    assert image.getpixel((50, 100)) == (255, 0, 0)
    assert 0 < image.getpixel((100, 100))[0] < 80
    assert image.getpixel((10, 10)) == (0, 0, 0)
