"""Orders for pictures, carried out by the placeholder renderer. It knows no HTTP and no dialect.

Invariant: the same order with the same seed gives the same bytes. Nothing here looks at what a picture shows, so nothing is
ever blurred: a placeholder shows letters and hills.
"""

import time

from adapters.offline import placeholder
from adapters.offline import upscale as lanczos
from adapters.replies import Whole
from proxy.call import Call, Usage
from proxy.media import styles
from proxy.media.payload import Payload
from proxy.wire.edits import EditOrder, UpscaleOrder, answered
from proxy.wire.images import Made, Order, answer, suits

FORWARDS = frozenset(
    {
        *("negative_prompt", "width", "height", "steps", "cfg_scale", "seed", "lora_strength", "style_preset"),
        *("format", "return_binary", "safe_mode", "hide_watermark", "embed_exif_metadata"),
        *("image", "image[]", "images", "mask", "scale", "enhance", "replication"),
        *("n", "size", "response_format", "output_format", "output_compression", "background", "moderation"),
    }
)


async def draw(call: Call) -> Whole:
    """The order as placeholder pictures. Raises BadRequest where it does not suit the model."""
    from proxy.media.images import Finish

    assert call.plan is not None
    order: Order = call.request
    suits(order, call.plan.model)
    prompt, avoided = order.prompt, order.negative_prompt
    if order.style is not None:
        prompt, avoided = styles.style(order.style).apply(prompt, avoided)
    more = {"style": order.style, "steps": order.steps, "cfg": order.cfg_scale, "lora": order.lora_strength}
    brief = placeholder.Brief(
        prompt,
        order.width,
        order.height,
        order.seed,
        avoided,
        transparent=order.transparent,
        more={key: value for key, value in more.items() if value is not None},
    )
    finish = Finish(order.format, order.quality, {"prompt": order.prompt} if order.exif else None)
    began = time.perf_counter()
    pictures = await placeholder.generate(brief, finish, n=order.n)
    made = Made([picture.data for picture in pictures], time.perf_counter() - began)
    body, type_, headers = answer(order, made, id=call.id, fields=call.fields, started=call.started)
    return Whole(body, Usage(images=len(pictures)), type_, headers)


async def enlarge(call: Call) -> Whole:
    """The picture of the order, larger, as a PNG. Raises BadRequest and BodyTooLarge naming the field."""
    from proxy.media.images import Finish

    order: UpscaleOrder = call.request
    picture = await lanczos.upscale(
        order.image,
        Finish("png"),
        scale=order.scale,
        enhance=order.enhance,
        creativity=order.creativity,
        replication=order.replication,
    )
    return Whole(picture.data, Usage(images=1), picture.content_type)


async def edit(call: Call) -> Whole:
    """The first picture of the order with a banner that tells what was asked. Raises BadRequest and BodyTooLarge."""
    from proxy.media import images

    order: EditOrder = call.request
    finish = images.Finish(order.format, order.quality)
    picture = await placeholder.edit(order.images[0], order.prompt, finish, mask=order.mask)
    if order.size is not None and order.size != (picture.width, picture.height):
        picture = await images.convert(Payload(picture.data), finish, size=order.size)
    body, type_ = answered(order, [picture.data] * order.n)
    return Whole(body, Usage(images=order.n), type_)
