"""Drawing: gradients, soft shapes, wrapped text on panels, outlines. With `images`, the only room with Pillow.

It knows shapes and letters and no request; what is drawn and why is its caller's. Invariant: the same arguments give
the same pixels on every machine, so it uses the font inside Pillow with the basic layout and never a system font.
"""

import functools
import math
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont, ImageOps

Colour = tuple[int, int, int]
_SMALLEST: Final = 9
_LINE: Final = 1.32
_SPELT: Final = {  # common in prompts, and Unicode does not decompose them
    "ß": "ss",
    "æ": "ae",
    "Æ": "AE",
    "ø": "o",
    "Ø": "O",
    "œ": "oe",
    "Œ": "OE",
    "ł": "l",
    "Ł": "L",
    "\u2010": "-",
    "\u2011": "-",
    "\u2013": "-",
    "\u2014": "-",
    "\u2212": "-",
}


class Line(msgspec.Struct, frozen=True):
    """A paragraph for `panel`. `scale` is relative to the panel's size of letters."""

    text: str
    colour: Colour = (255, 255, 255)
    scale: float = 1.0
    most_lines: int = 1


def gradient(size: tuple[int, int], colours: tuple[Colour, Colour, Colour], angle: float) -> Image.Image:
    """From the first colour over the second to the third, along `angle` degrees."""
    ramp = Image.linear_gradient("L").rotate(angle, Image.Resampling.BICUBIC).crop((38, 38, 218, 218))
    return ImageOps.colorize(ramp.resize(size, Image.Resampling.BICUBIC), colours[0], colours[2], colours[1])


def soft_discs(image: Image.Image, discs: Iterable[tuple[float, float, float, Colour, int]]) -> None:
    """Lay blurred discs on the image: (x, y, radius) as shares of its width, height and shorter side, colour, opacity.

    They are drawn at an eighth of the size: blurring is then cheap and the enlargement smooths the edges.
    """
    small = (max(1, image.width // 8), max(1, image.height // 8))
    for x, y, radius, colour, opacity in discs:
        mask = Image.new("L", small, 0)
        cx, cy, r = x * small[0], y * small[1], radius * min(small)
        ImageDraw.Draw(mask).ellipse((cx - r, cy - r, cx + r, cy + r), fill=opacity)
        mask = mask.filter(ImageFilter.GaussianBlur(max(0.5, r / 12)))
        _lay(image, colour, mask.resize(image.size, Image.Resampling.BICUBIC))


def ridge(image: Image.Image, heights: Sequence[float], colour: Colour, opacity: int) -> None:
    """Fill below a line through `heights` (shares of the image's height, from the top), evenly spaced."""
    steps = [(i * image.width / (len(heights) - 1), h * image.height) for i, h in enumerate(heights)]
    mask = Image.new("L", image.size, 0)
    ImageDraw.Draw(mask).polygon([(0, image.height), *steps, (image.width, image.height)], fill=opacity)
    _lay(image, colour, mask)


def _lay(image: Image.Image, colour: Colour, mask: Image.Image) -> None:
    if image.mode == "RGBA":
        layer = Image.new("RGBA", image.size, colour)
        layer.putalpha(mask)
        image.alpha_composite(layer)
    else:
        image.paste(colour, mask=mask)


def panel(image: Image.Image, lines: Sequence[Line], *, at_bottom: bool = False, shade: int = 150) -> None:
    """Write paragraphs, wrapped, on a dark translucent strip across the middle or the bottom; letters fit the picture.

    What does not fit is cut with an ellipsis; on a picture too small for letters only the strip is drawn.
    """
    letters = max(_SMALLEST, min(44, round(math.sqrt(image.width * image.height) / 26)))
    margin = max(2, letters // 2)
    rows, height = _set(lines, letters, image.width - 2 * margin, int(image.height * 0.92) - 2 * margin)
    box_height = min(image.height, height + 2 * margin)
    top = image.height - box_height if at_bottom else (image.height - box_height) // 2
    strip = Image.new("L", (image.width, box_height), shade)
    region = image.crop((0, top, image.width, top + box_height))
    _lay(region, (12, 14, 22), strip)
    draw = ImageDraw.Draw(region)
    y = float(margin)
    for text, font, colour, step in rows:
        draw.text((margin, y), text, font=font, fill=colour)
        y += step
    image.paste(region, (0, top))


Row = tuple[str, ImageFont.FreeTypeFont | ImageFont.ImageFont, Colour, float]


def _set(lines: Sequence[Line], letters: int, width: int, height: int) -> tuple[list[Row], int]:
    rows: list[Row] = []
    used = 0.0
    for line in lines:
        size = max(_SMALLEST, round(letters * line.scale))
        font, step = _font(size), size * _LINE
        room = int((height - used) // step)
        for text in _wrap(readable(line.text), font, width, min(line.most_lines, room)):
            rows.append((text, font, line.colour, step))
            used += step
    return rows, math.ceil(used)


def _wrap(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int, most: int) -> list[str]:
    if most <= 0 or width < _SMALLEST:
        return []
    rows, current = [], ""
    for word in _pieces(text, font, width):
        longer = f"{current} {word}" if current else word
        if font.getlength(longer) <= width:
            current = longer
            continue
        rows.append(current)
        current = word
        if len(rows) > most:
            break
    rows = [row for row in [*rows, current] if row]
    if len(rows) > most:
        rows = [*rows[: most - 1], _cut(rows[most - 1], font, width)]
    return rows


def _pieces(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> Iterable[str]:
    for word in text.split():
        while font.getlength(word) > width and len(word) > 1:
            keep = max(1, int(len(word) * width / font.getlength(word)) - 1)
            yield word[:keep]
            word = word[keep:]
        yield word


def _cut(row: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    while row and font.getlength(row + "...") > width:
        row = row[:-1]
    return row.rstrip() + "..."


def readable(text: str) -> str:
    """The text in letters that the font has: accents it lacks are left off, other runs become a note.

    `Ünder 日本` is `Under [2 CJK]`.
    """
    parts: list[str] = []
    missing: list[str] = []  # the script of each letter of the run at hand, blanks between its words left out
    for letter in unicodedata.normalize("NFC", text):
        base = _SPELT.get(letter) or unicodedata.normalize("NFKD", letter)[:1]
        script = "" if letter.isspace() else _script(letter) and _script(base[0])
        if script == "MARK" or (missing and letter.isspace()):
            continue
        if missing and script != missing[-1]:
            parts.append(f" [{len(missing)} {missing[-1]}] ")
            missing = []
        if script:
            missing.append(script)
        else:
            parts.append(base if _script(letter) else letter)
    if missing:
        parts.append(f" [{len(missing)} {missing[-1]}]")
    return " ".join("".join(parts).split())


@functools.lru_cache(4_096)
def _script(letter: str) -> str:
    """ "" where the font can draw it, else what Unicode calls its script or kind."""
    if letter.isspace() or _glyph(letter) != _glyph("\uffff"):
        return ""
    if unicodedata.combining(letter) or unicodedata.category(letter) in ("Cf", "Cc", "Mn"):
        return "MARK"
    if unicodedata.category(letter) == "So":
        return "SYMBOL"
    return unicodedata.name(letter, "OTHER").split()[0].split("-")[0]


def _glyph(letter: str) -> tuple[tuple[int, int], bytes]:
    mask = _font(16).getmask(letter)
    return mask.size, bytes(mask)


@functools.lru_cache(64)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    font = ImageFont.load_default(size)
    if isinstance(font, ImageFont.FreeTypeFont):
        return font.font_variant(layout_engine=ImageFont.Layout.BASIC)
    return font


def outline(image: Image.Image, area: Image.Image, colour: Colour) -> None:
    """Trace the border of `area` (mode L, the same size, 255 inside) and tint its inside lightly."""
    thick = max(3, round(min(image.size) / 150)) | 1
    edge = ImageChops.difference(area, area.filter(ImageFilter.MinFilter(3)))
    if thick > 3:
        edge = edge.filter(ImageFilter.MaxFilter(min(thick, 15)))
    _lay(image, colour, area.point(lambda value: 48 if value else 0))
    _lay(image, colour, edge)
