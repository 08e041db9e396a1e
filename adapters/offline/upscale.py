"""The `lanczos` upscaler: a real enlargement without a model.

It owns the scale rules of `POST /image/upscale` and knows neither HTTP nor Pillow. Invariant: nothing is decoded before
the size of the result is known to be allowed.
"""

import math
from typing import TYPE_CHECKING

from proxy.errors import BadRequest, BodyTooLarge
from proxy.media.inspect import MAX_UPSCALED_PIXELS, ImageHeader, check
from proxy.media.payload import Payload

if TYPE_CHECKING:
    from proxy.media.images import Finish, Picture

MODEL = "lanczos"


def target_size(header: ImageHeader, scale: float, *, enhance: bool, field: str = "image") -> tuple[int, int]:
    """Width and height of the result. A scale of 4 shrinks to what fits, as Venice's does; another is refused.

    BadRequest for a scale outside 1 to 4, or 1 without `enhance`; BodyTooLarge for a result of too many pixels.
    """
    if not 1 <= scale <= 4:  # also refuses NaN
        raise BadRequest(f"scale: expected a number from 1 to 4, got {scale}.", param="scale")
    if scale == 1 and not enhance:
        raise BadRequest("scale: expected more than 1 where enhance is false, got 1.", param="scale")
    if scale == 4 and header.pixels * 16 > MAX_UPSCALED_PIXELS:
        scale = max(1.0, math.sqrt(MAX_UPSCALED_PIXELS / header.pixels))
        size = int(header.width * scale), int(header.height * scale)
    else:
        size = round(header.width * scale), round(header.height * scale)
    if size[0] * size[1] > MAX_UPSCALED_PIXELS:
        got = f"{size[0]}x{size[1]} = {size[0] * size[1]:,}"
        text = f"{field}: expected a result of at most {MAX_UPSCALED_PIXELS:,} pixels, got {got}."
        raise BodyTooLarge(text, param=field, code="image_too_large")
    return size


async def upscale(
    payload: Payload,
    finish: "Finish",
    *,
    scale: float = 2.0,
    enhance: bool = False,
    creativity: float = 0.5,
    replication: float = 0.35,
) -> "Picture":
    """The picture enlarged. `enhance` sharpens, the more the higher `replication` (how much detail of the source is
    stressed); `creativity` needs a model and has no effect here. Errors as `target_size` and `inspect.check`."""
    del creativity
    from proxy.media import images

    header = check(payload, max_pixels=MAX_UPSCALED_PIXELS)
    width, height = target_size(header, scale, enhance=enhance, field=payload.field)
    cost = images.affordable(payload.field, header) + 4 * width * height

    def work() -> "Picture":
        image = images.decode(payload, header)
        if (image.width > image.height) != (header.width > header.height):  # EXIF turned it
            return images.encode(images.resize(image, height, width, sharpen=sharpen), finish)
        return images.encode(images.resize(image, width, height, sharpen=sharpen), finish)

    sharpen = max(0.1, replication) if enhance else 0.0
    return await images.bench.run(cost, work)
