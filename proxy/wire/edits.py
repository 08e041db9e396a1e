"""POST image/upscale, image/edit and images/edits: pictures that come with a call, as JSON or as a form, and what is to be
done to them.

It decodes no picture and knows no upstream. Invariants: an order's pictures are Payloads that name the field they came in,
and their headers are within the limits of the route, whoever serves it.
"""

import math
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Raw

from proxy.media.inspect import CONTENT_TYPES, MAX_UPSCALED_PIXELS, check, inspect
from proxy.media.payload import Payload
from proxy.stream import CONTENT_TYPE
from proxy.wire import images
from proxy.wire.body import encode, explained
from proxy.wire.chat import refused

Share = Annotated[float, Meta(ge=0, le=1)]
Name = Annotated[str, Meta(max_length=512)]
MAX_IMAGES = 16
T = TypeVar("T", bound=msgspec.Struct)


class UpscaleRequest(msgspec.Struct):
    """`image` is base64 or a data URL, or a file of the form."""

    image: str | None = None
    model: Name | None = None
    scale: Annotated[float, Meta(ge=1, le=4)] | None = None
    enhance: bool | Literal["true", "false"] | None = None
    enhanceCreativity: Share | None = None
    enhancePrompt: Annotated[str, Meta(max_length=1500)] | None = None
    replication: Share | None = None


class EditRequest(msgspec.Struct):
    """Venice's image/edit."""

    prompt: Annotated[str, Meta(min_length=1, max_length=1500)]
    image: str | None = None
    model: Name | None = None


class EditsRequest(msgspec.Struct):
    """OpenAI's images/edits. `images` is its JSON form: objects with an `image_url`."""

    prompt: Annotated[str, Meta(min_length=1, max_length=32_000)]
    image: str | list[str] | None = None
    images: list[dict[str, Any]] | None = None
    mask: str | None = None
    model: Name | None = None
    n: Annotated[int, Meta(ge=1, le=10)] | None = None
    size: Annotated[str, Meta(max_length=20)] | None = None
    response_format: Literal["b64_json", "url"] | None = None
    output_format: Literal["jpeg", "png", "webp"] | None = None
    output_compression: Annotated[int, Meta(ge=0, le=100)] | None = None
    stream: bool | None = None


class UpscaleOrder(msgspec.Struct, kw_only=True):
    model: str
    image: Payload
    scale: float = 2.0
    enhance: bool = False
    creativity: float = 0.5
    replication: float = 0.35
    prompt: str = ""


class EditOrder(msgspec.Struct, kw_only=True):
    """`size` None keeps the picture's own. `shape` as in `images.Order`."""

    model: str
    prompt: str
    images: list[Payload]
    mask: Payload | None = None
    shape: Literal["binary", "b64_json", "url"] = "binary"
    n: int = 1
    size: tuple[int, int] | None = None
    format: Literal["jpeg", "png", "webp"] = "png"
    quality: int = 90
    stream: bool = False  # OpenAI's: an event for each picture


def from_texts(texts: dict[str, str], type_: type[T]) -> T:
    """The texts of a form → the head, numbers out of digits. Raises BadRequest naming the field."""
    given: dict[str, Any] = {key: text for key, text in texts.items() if text != "" or key == "prompt"}
    try:
        return msgspec.convert(given, type_, strict=False)
    except msgspec.ValidationError as error:
        raise explained(str(error)) from None


def raw_fields(texts: dict[str, str], files: dict[str, list[Payload]]) -> dict[str, Raw]:
    """A form as if it had been JSON, files by a word only: for what looks at names."""
    return {**{key: Raw(encode(text)) for key, text in texts.items()}, **{key: Raw(b'"file"') for key in files}}


def lifted(fields: dict[str, Raw]) -> tuple[dict[str, Raw], dict[str, list[Payload]]]:
    """A JSON body's fields → those without pictures, and the pictures as if they had been files.

    The pictures stay views of the body; the rest is copied, so that nothing else of the body is held. What is no text, or
    no list of texts, is left where it is, for its type to refuse. Raises BadRequest for texts that are no pictures.
    """
    rest: dict[str, Raw] = {}
    found: dict[str, list[Payload]] = {}
    for key, value in fields.items():
        if key in ("image", "mask") and bytes(memoryview(value)[:1]) == b'"':
            found[key] = [Payload.from_json(value, field=key)]
        elif key in ("image", "images") and (tokens := _tokens(key, value)) is not None:
            found["image[]"] = [Payload.from_json(token, field="image") for token in tokens]
        else:
            rest[key] = value.copy()
    return rest, found


def _tokens(key: str, value: Raw) -> list[Raw] | None:
    """The texts of `image: [...]`, or of `images: [{image_url}]`, still JSON; None where they are something else."""
    try:
        if key == "image":
            texts = msgspec.json.decode(value, type=list[Raw])
        else:
            rows = msgspec.json.decode(value, type=list[dict[str, Raw]])
            texts = [row["image_url"] for row in rows if "image_url" in row]
            if len(texts) != len(rows):
                return None
    except msgspec.ValidationError:
        return None
    heads = [bytes(memoryview(text)[:6]).lower() for text in texts]
    start = b'"data:' if key == "images" else b'"'
    return texts if all(head.startswith(start) for head in heads) else None


def pictures(files: dict[str, list[Payload]], given: Any) -> list[Payload]:
    """The pictures of a call: files as `image` or `image[]`, or texts. Raises BadRequest without one, or with too many."""
    found = [*files.get("image", ()), *files.get("image[]", ())]
    texts = [given] if isinstance(given, str) else given or []
    found += [Payload.from_text(text, field="image") for text in texts]
    if not found:
        raise refused("image", "Required")
    if len(found) > MAX_IMAGES:
        raise refused("image", f"Expected at most {MAX_IMAGES} images")
    for payload in found:
        payload.field = "image"
    return found


def upscale_order(request: UpscaleRequest, files: dict[str, list[Payload]]) -> UpscaleOrder:
    """Raises BadRequest naming the field, BodyTooLarge for a picture of too many pixels."""
    enhance = request.enhance
    if isinstance(enhance, str):
        enhance = enhance == "true"
    order = UpscaleOrder(model=request.model or "default", image=pictures(files, request.image)[0])
    check(order.image, max_pixels=MAX_UPSCALED_PIXELS)
    order.enhance = bool(enhance)
    order.prompt = request.enhancePrompt or ""
    for name, field, value in (
        ("scale", "scale", request.scale),
        ("enhanceCreativity", "creativity", request.enhanceCreativity),
        ("replication", "replication", request.replication),
    ):
        if value is not None:
            if not math.isfinite(value):
                raise refused(name, "Expected a number")
            setattr(order, field, float(value))
    return order


def edit_order(request: EditRequest, files: dict[str, list[Payload]]) -> EditOrder:
    """Raises BadRequest naming the field, BodyTooLarge for a picture of too many pixels."""
    found = pictures(files, request.image)
    check(found[0])
    return EditOrder(model=request.model or "default", prompt=request.prompt, images=found[:1])


def edits_order(request: EditsRequest, files: dict[str, list[Payload]], size: tuple[int, int] | None) -> EditOrder:
    """Raises BadRequest naming the field, BodyTooLarge for a picture of too many pixels."""
    given: Any = request.image
    if request.images is not None:
        given = [_url(item, index) for index, item in enumerate(request.images)]
    mask = next(iter(files.get("mask", ())), None)
    if mask is None and request.mask is not None:
        mask = Payload.from_text(request.mask, field="mask")
    found = pictures(files, given)
    for payload in [*found, mask] if mask is not None else found:
        check(payload, min_pixels=1)
    return EditOrder(
        model=request.model or "default",
        prompt=request.prompt,
        images=found,
        mask=mask,
        shape=request.response_format or "b64_json",
        n=request.n or 1,
        size=size,
        format=request.output_format or "png",
        quality=90 if request.output_compression is None else max(1, request.output_compression),
        stream=bool(request.stream),
    )


def answered(order: EditOrder, pictures: list[bytes]) -> tuple[bytes, str]:
    """Pictures of the ordered format → body and content type, in the shape that was ordered."""
    if order.shape == "binary":
        return pictures[0], CONTENT_TYPES[order.format]
    if order.stream:
        header = inspect(Payload(pictures[0]))
        size = f"{header.width}x{header.height}"
        return images.events(pictures, order.format, "image_edit.completed", size), CONTENT_TYPE
    return images.edited(pictures, order.format, url=order.shape == "url"), "application/json"


def _url(item: dict[str, Any], index: int) -> str:
    url = item.get("image_url")
    if not isinstance(url, str) or not url.startswith("data:"):
        raise refused(f"images[{index}].image_url", "Expected a base64 data URL")
    return url
