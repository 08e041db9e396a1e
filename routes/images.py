"""The routes of pictures: image/generate, images/generations, image/styles, image/upscale, image/edit and images/edits."""

from typing import Any, TypeVar

import msgspec

from proxy.call import Call, Dialect, Operation
from proxy.media import styles
from proxy.media.payload import Payload
from proxy.wire import edits, images
from proxy.wire.body import encode, fields_of, head_of
from routes._endpoint import Answer, Desk
from routes._inbound import Inbound
from routes._multipart import form_of, is_form

T = TypeVar("T", bound=msgspec.Struct)
Files = dict[str, list[Payload]]


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
    venice = inbound.dialect is Dialect.VENICE
    request = head_of(raw, images.VeniceGenerationsRequest if venice else images.GenerationsRequest)
    if venice:
        images.closed(images.GenerationsRequest, fields)
    order = images.from_generations(request)
    order.stream = images.streamed(fields)
    return _call(inbound, raw, fields, order)


async def listed_styles(inbound: Inbound, desk: Desk) -> Answer:
    """The styles that `style_preset` takes."""
    del inbound, desk
    return Answer({"object": "list", "data": list(styles.NAMES)})


async def upscale(inbound: Inbound, desk: Desk) -> Call:
    """A picture, as a file or as base64, to be made larger."""
    request, fields, files = await _sent(inbound, desk, edits.UpscaleRequest, closed=True)
    return _call(inbound, b"", fields, edits.upscale_order(request, files), Operation.UPSCALE)


async def edit(inbound: Inbound, desk: Desk) -> Call:
    """Venice's dialect."""
    request, fields, files = await _sent(inbound, desk, edits.EditRequest, closed=True)
    return _call(inbound, b"", fields, edits.edit_order(request, files), Operation.IMAGE_EDIT)


async def openai_edits(inbound: Inbound, desk: Desk) -> Call:
    """OpenAI's dialect: `image` or several `image[]`, and a mask."""
    request, fields, files = await _sent(inbound, desk, edits.EditsRequest, closed=False)
    size = None if request.size in (None, "auto") else images.size_of(request.size)
    return _call(inbound, b"", fields, edits.edits_order(request, files, size), Operation.IMAGE_EDIT)


async def _sent(
    inbound: Inbound, desk: Desk, type_: type[T], *, closed: bool
) -> tuple[T, dict[str, msgspec.Raw], Files]:
    """A form's or a JSON body's head, its fields by name, and its files."""
    content_type = inbound.header(b"content-type")
    if content_type is not None and is_form(content_type):
        form = form_of(await inbound.body(desk.max_body), content_type)
        fields = edits.raw_fields(form.texts, form.files)
        if closed:
            images.closed(type_, {key.removesuffix("[]"): value for key, value in fields.items()})
        return edits.from_texts(form.texts, type_), fields, form.files
    inbound.json_type()
    fields = fields_of(await inbound.body(desk.max_body))
    if closed:
        images.closed(type_, fields)
    rest, files = edits.lifted(fields)
    request = head_of(encode(rest), type_)
    return request, {**rest, **edits.raw_fields({}, files)}, files


def _call(
    inbound: Inbound, raw: bytes, fields: dict[str, Any], order: Any, operation: Operation = Operation.IMAGES
) -> Call:
    return Call(
        id=inbound.id,
        operation=operation,
        dialect=inbound.dialect,
        request=order,
        raw=raw,
        fields=fields,
        principal=inbound.principal,
        stream=getattr(order, "stream", False),
    )
