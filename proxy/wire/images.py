"""POST image/generate and images/generations: two dialects of one wish, and the two shapes of its answer.

An adapter sees an `Order` only, in whichever dialect it was placed, and gives `Made`; it knows neither shape. Limits that
are the model's own (divisor, steps, length of the prompt) are held by `suits`, once the model is known.
"""

import base64
import random
import re
import time
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta, Raw

from proxy.catalogue import Model
from proxy.media import styles
from proxy.media.inspect import CONTENT_TYPES
from proxy.media.payload import data_url
from proxy.stream import CONTENT_TYPE, frame
from proxy.wire.body import NO_OPS, encode, unknown_keys
from proxy.wire.chat import refused

Prompt = Annotated[str, Meta(min_length=1, max_length=1500)]
Side = Annotated[int, Meta(ge=1, le=1280)]
Format = Literal["jpeg", "png", "webp"]
MAX_OPENAI_SIDE = 3840
MAX_OPENAI_PIXELS = 8_294_400
SIZE = re.compile(r"([1-9][0-9]{1,3})x([1-9][0-9]{1,3})")
Size = Literal["auto", "256x256", "512x512", "1024x1024", "1536x1024", "1024x1536", "1792x1024", "1024x1792"]
SIZES: tuple[str, ...] = get_args(Size)[1:]


class GenerateRequest(msgspec.Struct):
    """Venice's own dialect."""

    model: Annotated[str, Meta(min_length=1, max_length=512)]
    prompt: Prompt
    negative_prompt: Annotated[str, Meta(max_length=1500)] | None = None
    width: Side | None = None
    height: Side | None = None
    steps: Annotated[int, Meta(ge=1, le=50)] | None = None
    cfg_scale: Annotated[float, Meta(gt=0, le=20)] | None = None
    seed: Annotated[int, Meta(ge=-999_999_999, le=999_999_999)] | None = None
    lora_strength: Annotated[int, Meta(ge=0, le=100)] | None = None
    style_preset: str | None = None
    format: Format | None = None
    return_binary: bool | None = None
    safe_mode: bool | None = None
    hide_watermark: bool | None = None
    embed_exif_metadata: bool | None = None
    inpaint: Any = None


class GenerationsRequest(msgspec.Struct):
    """OpenAI's dialect."""

    prompt: Annotated[str, Meta(min_length=1, max_length=32_000)]
    model: Annotated[str, Meta(max_length=512)] | None = None
    n: Annotated[int, Meta(ge=1, le=10)] | None = None
    size: Annotated[str, Meta(max_length=20)] | None = None
    response_format: Literal["b64_json", "url"] | None = None
    output_format: Format | None = None
    output_compression: Annotated[int, Meta(ge=0, le=100)] | None = None
    background: Literal["transparent", "opaque", "auto"] | None = None
    moderation: Literal["low", "auto"] | None = None
    quality: Literal["auto", "high", "medium", "low", "hd", "standard"] | None = None
    style: Literal["vivid", "natural"] | None = None
    user: str | None = None


class VeniceGenerationsRequest(GenerationsRequest):
    """What Venice's schema makes narrower."""

    prompt: Prompt
    n: Annotated[int, Meta(ge=1, le=1)] | None = None
    size: Size | None = None


class Order(msgspec.Struct, kw_only=True):
    """What is to be made, in one language. `shape` is how it is answered: "venice" json, "binary", "b64_json" or "url"."""

    model: str
    prompt: str
    shape: Literal["venice", "binary", "b64_json", "url"]
    negative_prompt: str = ""
    width: int = 1024
    height: int = 1024
    seed: int
    n: int = 1
    format: Format = "png"
    quality: int = 90
    steps: int | None = None
    cfg_scale: float | None = None
    lora_strength: int | None = None
    style: str | None = None
    safe: bool = True
    exif: bool = False
    transparent: bool = False
    stream: bool = False  # OpenAI's: an event for each picture


class Made(msgspec.Struct):
    """Encoded pictures of the format that was ordered. `inference_s` is how long making them took."""

    pictures: list[bytes]
    inference_s: float
    blurred: bool = False
    violation: bool = False


def _seed(given: int | None) -> int:
    return random.randrange(1, 999_999_999) if given is None else given


def from_generate(request: GenerateRequest) -> Order:
    """Raises BadRequest for a style that there is not."""
    return Order(
        model=request.model,
        prompt=request.prompt,
        shape="binary" if request.return_binary else "venice",
        negative_prompt=request.negative_prompt or "",
        width=request.width or 1024,
        height=request.height or 1024,
        seed=_seed(request.seed),
        format=request.format or "webp",
        steps=request.steps,
        cfg_scale=request.cfg_scale,
        lora_strength=request.lora_strength,
        style=styles.style(request.style_preset).name if request.style_preset else None,
        safe=request.safe_mode is not False,
        exif=bool(request.embed_exif_metadata),
    )


def from_generations(request: GenerationsRequest) -> Order:
    """Raises BadRequest naming the field."""
    width, height = size_of(request.size)
    format_ = request.output_format or "png"
    transparent = request.background == "transparent"
    if transparent and format_ == "jpeg":
        raise refused("background", "A transparent background needs the output_format png or webp")
    return Order(
        model=request.model or "default",
        prompt=request.prompt,
        shape=request.response_format or "b64_json",
        width=width,
        height=height,
        seed=_seed(None),
        n=request.n or 1,
        format=format_,
        quality=90 if request.output_compression is None else max(1, request.output_compression),
        safe=request.moderation != "low",
        transparent=transparent,
    )


def streamed(fields: dict[str, Raw]) -> bool:
    """Whether an OpenAI client asked for events. Raises BadRequest for what is no boolean."""
    given = bytes(fields.get("stream", b"false"))
    if given not in (b"true", b"false"):
        raise refused("stream", "Expected boolean")
    return given == b"true"


def size_of(size: str | None) -> tuple[int, int]:
    """`640x480` → width and height; "auto" is 1024 square. Raises BadRequest for what is neither."""
    if size in (None, "auto"):
        return 1024, 1024
    assert size is not None
    found = SIZE.fullmatch(size)
    if found is None:
        raise refused("size", f"Expected 'auto' or WIDTHxHEIGHT, as one of {', '.join(SIZES)}")
    width, height = int(found[1]), int(found[2])
    if max(width, height) > MAX_OPENAI_SIDE or width * height > MAX_OPENAI_PIXELS:
        most = f"{MAX_OPENAI_SIDE} pixels a side and {MAX_OPENAI_PIXELS:,} in all"
        raise refused("size", f"Expected at most {most}")
    return width, height


def closed(type_: type[msgspec.Struct], fields: dict[str, Raw]) -> None:
    """Refuse what is no field. Raises BadRequest naming it."""
    known = NO_OPS | set(type_.__struct_fields__)
    if unknown := [key for key in fields if key not in known]:
        raise unknown_keys(unknown)


def suits(order: Order, model: Model) -> None:
    """Hold an order against its model's own limits. Raises BadRequest naming the field."""
    limits = model.constraints
    divisor = limits.width_height_divisor or 1
    for name, side in (("width", order.width), ("height", order.height)):
        if side % divisor:
            raise refused(name if order.shape in ("venice", "binary") else "size", f"Must be a multiple of {divisor}")
    if limits.steps is not None and order.steps is not None and order.steps > limits.steps.max:
        raise refused("steps", f"Number must be less than or equal to {limits.steps.max}")
    if limits.prompt_characters is not None and len(order.prompt) > limits.prompt_characters:
        raise refused("prompt", f"String must contain at most {limits.prompt_characters} characters")


def answer(
    order: Order, made: Made, *, id: str, fields: dict[str, Raw], started: float
) -> tuple[bytes, str, list[tuple[str, str]]]:
    """Pictures → body, content type and headers, in the shape ordered. `started` is the call's `perf_counter`."""
    headers = [
        ("x-venice-is-blurred", str(made.blurred).lower()),
        ("x-venice-is-content-violation", str(made.violation).lower()),
    ]
    type_ = CONTENT_TYPES[order.format]
    if order.stream:
        size = f"{order.width}x{order.height}"
        return events(made.pictures, order.format, "image_generation.completed", size), CONTENT_TYPE, headers
    if order.shape == "binary" and made.pictures:
        return made.pictures[0], type_, headers
    if order.shape in ("venice", "binary"):
        total = (time.perf_counter() - started) * 1000
        inference = min(total, made.inference_s * 1000)
        timing = {"inferenceDuration": inference, "inferencePreprocessingTime": total - inference}
        body: dict[str, Any] = {
            "id": f"generate-image-{id}",
            "images": [base64.b64encode(data).decode("ascii") for data in made.pictures],
            "request": fields,
            "timing": {**timing, "inferenceQueueTime": 0, "total": total},
        }
    else:
        return edited(made.pictures, order.format, url=order.shape == "url"), "application/json", headers
    return encode(body), "application/json", headers


def edited(pictures: list[bytes], format: Format, *, url: bool) -> bytes:
    """OpenAI's shape: pictures as base64, or as data URLs."""
    data = [
        {"url": data_url(CONTENT_TYPES[format], picture)}
        if url
        else {"b64_json": base64.b64encode(picture).decode("ascii")}
        for picture in pictures
    ]
    return encode({"created": int(time.time()), "data": data})


def events(pictures: list[bytes], format: Format, name: str, size: str) -> bytes:
    """OpenAI's shape for who asked for a stream: nothing partial, each picture whole in its event."""
    about = {"background": "auto", "created_at": int(time.time()), "output_format": format, "quality": "auto"}
    zero = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
    usage = {**zero, "input_tokens_details": {"image_tokens": 0, "text_tokens": 0}}
    rows = [base64.b64encode(picture).decode("ascii") for picture in pictures]
    return b"".join(frame({"type": name, "b64_json": row, **about, "size": size, "usage": usage}) for row in rows)
