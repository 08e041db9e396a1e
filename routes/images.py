"""The routes of pictures: image/generate, images/generations and image/styles."""

from typing import Any

from proxy.call import Call, Dialect, Operation
from proxy.media import styles
from proxy.wire import images
from proxy.wire.body import fields_of, head_of
from routes._endpoint import Answer, Desk
from routes._inbound import Inbound


async def generate(inbound: Inbound, desk: Desk) -> Call:
    """Venice's dialect, closed under both prefixes: nobody else has this route."""
    inbound.json_type()
    raw = await inbound.body(desk.max_body)
    fields = fields_of(raw)
    request = head_of(raw, images.GenerateRequest)
    images.closed(images.GenerateRequest, fields)
    return _call(inbound, raw, fields, images.from_generate(request))


async def generations(inbound: Inbound, desk: Desk) -> Call:
    """OpenAI's dialect."""
    inbound.json_type()
    raw = await inbound.body(desk.max_body)
    fields = fields_of(raw)
    request = head_of(raw, images.GenerationsRequest)
    venice = inbound.dialect is Dialect.VENICE
    if venice:
        images.closed(images.GenerationsRequest, fields)
    return _call(inbound, raw, fields, images.from_generations(request, venice=venice))


async def listed_styles(inbound: Inbound, desk: Desk) -> Answer:
    """The styles that `style_preset` takes."""
    del inbound, desk
    return Answer({"object": "list", "data": list(styles.NAMES)})


def _call(inbound: Inbound, raw: bytes, fields: dict[str, Any], order: images.Order) -> Call:
    return Call(
        id=inbound.id,
        operation=Operation.IMAGES,
        dialect=inbound.dialect,
        request=order,
        raw=raw,
        fields=fields,
        principal=inbound.principal,
    )
