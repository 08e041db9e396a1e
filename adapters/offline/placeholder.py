"""Pictures for development: a seeded drawing that says it is a placeholder and shows what was asked for.

It owns what is drawn and knows neither Pillow (`proxy.media` has that) nor HTTP. Invariants: the same brief gives the
same bytes; the size is exact; the words "PLACEHOLDER - no model was used" are always there where letters fit.
"""

import hashlib
import random
from typing import TYPE_CHECKING, Any

import msgspec

from proxy.errors import BadRequest
from proxy.media.inspect import MAX_PIXELS, check
from proxy.media.payload import Payload

if TYPE_CHECKING:
    from PIL import Image

    from proxy.media.images import Finish, Picture

MODEL = "dev-placeholder"
LABEL = "PLACEHOLDER - no model was used"
MAX_SIDE = 4_096
_GOLD, _GREY, _WHITE = (255, 214, 120), (190, 198, 214), (255, 255, 255)


class Brief(msgspec.Struct, frozen=True):
    """What to draw. `more` are further parameters that the picture shows and its metadata keeps (steps, style, ...)."""

    prompt: str
    width: int = 1024
    height: int = 1024
    seed: int = 0
    negative_prompt: str = ""
    model: str = MODEL
    transparent: bool = False
    more: dict[str, Any] = {}

    def about(self) -> dict[str, Any]:
        """What EXIF gets: all that is needed to draw the same picture again."""
        told = {"prompt": self.prompt, "negative_prompt": self.negative_prompt, "model": self.model, "seed": self.seed}
        told |= {"width": self.width, "height": self.height, "note": LABEL, **self.more}
        return {key: value for key, value in told.items() if value not in ("", None)}


async def generate(brief: Brief, finish: "Finish", *, n: int = 1, blurred: bool = False) -> "list[Picture]":
    """`n` pictures, seeds counting up from the brief's. BadRequest for a size that cannot be drawn."""
    from proxy.media import images

    for name, side in (("width", brief.width), ("height", brief.height)):
        if not 1 <= side <= MAX_SIDE:
            raise BadRequest(f"{name}: expected 1 to {MAX_SIDE}, got {side}.", param=name)
    cost = brief.width * brief.height * 12
    return [
        await images.bench.run(cost, _draw, msgspec.structs.replace(brief, seed=brief.seed + i), finish, blurred)
        for i in range(n)
    ]


def _draw(brief: Brief, finish: "Finish", blurred: bool) -> "Picture":
    from proxy.media import images

    image = paint(brief)
    if blurred:
        image = images.blur(image)
    if finish.about is not None:
        finish = msgspec.structs.replace(finish, about={**brief.about(), **finish.about, "seed": brief.seed})
    return images.encode(image, finish)


def paint(brief: Brief) -> "Image.Image":
    """The picture itself, RGB, or RGBA where a transparent ground was asked for."""
    from PIL import Image

    from proxy.media import canvas

    dice = _dice(brief)
    size = (brief.width, brief.height)
    hue = dice.random()
    tones = (_tone(hue, 0.75, 0.28), _tone(hue + 0.09, 0.65, 0.62), _tone(hue + 0.2, 0.55, 0.93))
    if brief.transparent:
        image = Image.new("RGBA", size, (0, 0, 0, 0))
    else:
        image = canvas.gradient(size, tones, dice.uniform(-50, 50))
    discs = []
    for _ in range(dice.randint(4, 7)):
        colour = _tone(hue + dice.uniform(-0.2, 0.35), dice.uniform(0.3, 0.8), dice.uniform(0.6, 1.0))
        discs.append((dice.random(), dice.uniform(0, 0.8), dice.uniform(0.06, 0.3), colour, dice.randint(70, 190)))
    canvas.soft_discs(image, discs)
    for depth in range(3):
        level = 0.66 + 0.1 * depth
        heights = [level + dice.uniform(-0.07, 0.07) for _ in range(dice.randint(5, 11))]
        canvas.ridge(image, heights, _tone(hue + 0.04 * depth, 0.6, 0.42 - 0.12 * depth), 165)
    canvas.panel(image, _caption(brief))
    return image


def _caption(brief: Brief) -> "list[Any]":
    from proxy.media.canvas import Line

    facts = [f"model {brief.model}", f"seed {brief.seed}", f"{brief.width} x {brief.height}"]
    facts += [f"{key} {value}" for key, value in brief.more.items() if value not in ("", None)]
    lines = [Line(LABEL, _GOLD, 1.15, 2), Line(brief.prompt, _WHITE, 1.0, 12)]
    if brief.negative_prompt:
        lines.append(Line(f"not: {brief.negative_prompt}", _GREY, 0.8, 4))
    return [*lines, Line("  |  ".join(facts), _GREY, 0.72, 3)]


def _dice(brief: Brief) -> random.Random:
    told = repr((brief.seed, brief.prompt, brief.negative_prompt, brief.model, brief.width, brief.height)).encode()
    return random.Random(int.from_bytes(hashlib.sha256(told).digest()[:8]))


def _tone(hue: float, saturation: float, value: float) -> tuple[int, int, int]:
    import colorsys

    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


async def edit(payload: Payload, prompt: str, finish: "Finish", *, mask: Payload | None = None) -> "Picture":
    """The given picture with a labelled banner that shows the prompt, and the mask's outline where there is one.

    One of more than 16.7 million pixels is worked at half its width and height, to bound memory. Errors as
    `proxy.media.inspect.check`; BadRequest for a mask of another size.
    """
    from proxy.media import images

    header = check(payload, min_pixels=1)
    mask_header = None
    cost = images.affordable(payload.field, header)
    if mask is not None:
        mask_header = check(mask, min_pixels=1, max_pixels=MAX_PIXELS)
        if (mask_header.width, mask_header.height) != (header.width, header.height):
            got = f"{mask_header.width}x{mask_header.height}"
            text = f"{mask.field}: expected the size of the image, {header.width}x{header.height}, got {got}."
            raise BadRequest(text, param=mask.field)
        cost += images.affordable(mask.field, mask_header)

    def work() -> "Picture":
        from proxy.media import canvas

        area = images.decode(mask, mask_header) if mask is not None and mask_header is not None else None
        if area is not None:
            area = images.masked(area, area)
        image = images.decode(payload, header)
        if area is not None:
            canvas.outline(image, area.resize(image.size) if area.size != image.size else area, (255, 64, 160))
        lines = [canvas.Line(LABEL.replace("PLACEHOLDER", "PLACEHOLDER EDIT"), _GOLD, 1.0, 2)]
        canvas.panel(image, [*lines, canvas.Line(prompt, _WHITE, 0.9, 4)], at_bottom=True, shade=190)
        return images.encode(image, finish)

    return await images.bench.run(cost, work)
