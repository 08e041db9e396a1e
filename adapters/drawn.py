"""Pictures as an upstream drew them → pictures as they were ordered: size, format, metadata, blur.

It knows no upstream and opens no socket. Invariants: a picture that is as it should be already keeps its bytes; nothing is
looked at to judge what it shows: only what an upstream says to be adult is blurred, and only in safe mode.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from proxy.errors import BadRequest, BodyTooLarge, Fault, UpstreamError
from proxy.media.inspect import MAX_UPSCALED_PIXELS, check
from proxy.media.payload import Payload
from proxy.wire.images import Made, Order

if TYPE_CHECKING:
    from proxy.media.images import Finish


class Drawn(msgspec.Struct, frozen=True):
    """One picture of an upstream's, still encoded. `adult` is what the upstream said of it, `seed` what it was drawn with."""

    data: bytes
    adult: bool = False
    seed: int | None = None


async def made(order: Order, drawn: Sequence[Drawn], inference_s: float, upstream: str, model: str = "") -> Made:
    """Finish what was drawn. `model` is who drew it, for the metadata. Raises UpstreamError for what is no picture."""
    from proxy.media.images import Finish

    out = Made([], inference_s)
    for index, one in enumerate(drawn):
        about = None
        if order.exif:
            seed = order.seed + index if one.seed is None else one.seed
            told = {"prompt": order.prompt, "negative_prompt": order.negative_prompt, "style": order.style}
            about = {"model": model, "seed": seed, **told, "steps": order.steps, "cfg": order.cfg_scale}
            about = {key: value for key, value in about.items() if value not in ("", None)}
        blurred = one.adult and order.safe
        finish = Finish(order.format, order.quality, about)
        size = (order.width, order.height)
        out.pictures.append(await finished(one.data, finish, upstream, size=size, blurred=blurred))
        out.blurred = out.blurred or blurred
    return out


async def finished(
    data: bytes, finish: "Finish", upstream: str, *, size: tuple[int, int] | None = None, blurred: bool = False
) -> bytes:
    """One picture, of this size (None keeps its own). Raises UpstreamError where it cannot be read."""
    from proxy.media import images

    payload = Payload(data, field="image")
    try:
        header = check(payload, min_pixels=1, max_pixels=MAX_UPSCALED_PIXELS)
        as_is = header.format == finish.format and size in (None, (header.width, header.height))
        if as_is and finish.about is None and not blurred:
            return data
        return (await images.convert(payload, finish, size=size, blurred=blurred)).data
    except (BadRequest, BodyTooLarge) as error:
        why = error.message.removeprefix("image: ")
        text = f"The upstream {upstream!r} sent a picture that cannot be used: {why}"
        raise UpstreamError(Fault.MALFORMED, text, accepted=True) from None
