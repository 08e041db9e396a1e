"""Pictures over Venice's own routes. What is Venice's already goes out as it came and comes back as it came.

OpenAI's wishes that Venice's copy of their route does not have are put otherwise: another size is drawn by image/generate,
several pictures are several requests. Invariant: an answer without a picture is an answer (a violation is told by its
header, with status 200), and no picture is taken for granted.
"""

import base64
import binascii
import time
from collections.abc import AsyncIterable, Awaitable, Callable
from functools import partial
from typing import Any, Final

import msgspec

from adapters._http import HttpResponse, TransportError
from adapters.accents import named
from adapters.download import sniff
from adapters.drawn import finished
from adapters.faults import transport_fault
from adapters.line import once
from adapters.openai_api import whole
from adapters.openai_api.forms import Part, form_body
from adapters.replies import Whole
from adapters.together import together
from adapters.venice.said import Headers, merged, passed_on
from proxy.call import Call, Operation, Target, Usage
from proxy.errors import BadRequest, UnsupportedParameter
from proxy.media.inspect import CONTENT_TYPES, inspect
from proxy.media.payload import Payload
from proxy.params import Sorted
from proxy.stream import CONTENT_TYPE
from proxy.wire import images
from proxy.wire.body import encode
from proxy.wire.edits import EditOrder, UpscaleOrder, answered

MAX_ANSWER = 128 << 20
MAX_SIDE: Final = 1280  # of image/generate
_JSON: Final = "application/json"
_BODY: Final = frozenset({"model", "prompt"})
GENERATE: Final = frozenset(images.GenerateRequest.__struct_fields__) - _BODY - {"inpaint"}
GENERATIONS: Final = frozenset(
    {
        *("size", "response_format", "output_format", "moderation"),
        *("background", "output_compression", "quality", "style"),
    }
)
# Of OpenAI's wishes, what image/generate is told in its own words, or what is done here.
_TOLD: Final = frozenset({"n", "size", "response_format", "output_format", "moderation", "stream"})
_UPSCALE: Final = {
    "scale": "scale",
    "enhanceCreativity": "creativity",
    "replication": "replication",
    "enhancePrompt": "prompt",
}

Send = Callable[[str, str, list[tuple[str, str]], bytes | AsyncIterable[bytes]], Awaitable[HttpResponse]]


class Pictures:
    """One upstream's. `send` gives a response whose status is good."""

    def __init__(self, name: str, send: Send) -> None:
        self._name = name
        self._send = send

    @staticmethod
    def preview(call: Call) -> Sorted:
        """What of an order goes out under its own name, is done here or is dropped."""
        if call.operation is Operation.UPSCALE:
            return named(call.fields, frozenset({*_UPSCALE, "enhance", "image"}))
        if call.operation is Operation.IMAGE_EDIT:
            return named(call.fields, frozenset({"image", "image[]", "images"}), _EDIT)
        if call.request.shape in ("venice", "binary"):
            return named(call.fields, GENERATE)
        return named(call.fields, GENERATIONS, _TOLD)

    async def draw(self, call: Call, target: Target) -> Whole:
        """image/generate and images/generations."""
        assert call.plan is not None
        order: images.Order = call.request
        images.suits(order, call.plan.model)
        if order.shape in ("venice", "binary"):
            return await self._generated(call, target)
        return await self._generations(call, target)

    async def _generated(self, call: Call, target: Target) -> Whole:
        """Venice's own: the body goes out key by key, the answer comes back untouched."""
        kept = {key: value for key, value in call.fields.items() if key in GENERATE}
        call.dropped = [key for key in call.fields if key not in kept and key not in _BODY]
        body = encode({"model": target.model, "prompt": call.request.prompt, **kept})
        data, type_, headers = await self._asked("/image/generate", _JSON, body, call)
        if call.request.shape == "binary":
            return Whole(data, Usage(images=1 if data else 0), type_ or CONTENT_TYPES[call.request.format], headers)
        rows = whole.decoded(data, self._name).get("images")
        if not isinstance(rows, list):
            raise whole.malformed(self._name, "an answer without images")
        return Whole(data, Usage(images=len(rows)), headers=headers)

    async def _generations(self, call: Call, target: Target) -> Whole:
        order: images.Order = call.request
        size = msgspec.json.decode(call.fields["size"]) if "size" in call.fields else "auto"
        venice_has_it = size == "auto" or size in images.SIZES
        if not venice_has_it and max(order.width, order.height) > MAX_SIDE:
            said = f"Model {order.model!r} draws at most {MAX_SIDE} pixels a side, or one of {', '.join(images.SIZES)}."
            raise BadRequest(said, param="size")
        one = partial(self._simple if venice_has_it else self._sized, call, target)
        answers = await together([one] * order.n)
        pictures = [picture for found, _ in answers for picture in found]
        headers = merged([told for _, told in answers])
        usage = Usage(images=len(pictures))
        if order.stream:
            decoded = [_decoded(text, self._name) for text in pictures]
            shown = f"{order.width}x{order.height}"
            body = images.events(decoded, order.format, "image_generation.completed", shown)
            return Whole(body, usage, CONTENT_TYPE, headers)
        mime = CONTENT_TYPES[order.format]
        data = [{"url": f"data:{mime};base64,{t}"} if order.shape == "url" else {"b64_json": t} for t in pictures]
        return Whole(encode({"created": int(time.time()), "data": data}), usage, headers=headers)

    async def _simple(self, call: Call, target: Target) -> tuple[list[str], Headers]:
        """One request of images/generations → its pictures, still base64."""
        kept: dict[str, Any] = {key: value for key, value in call.fields.items() if key in GENERATIONS}
        kept.pop("response_format", None)
        call.dropped = [key for key in call.fields if key not in kept and key not in _BODY | _TOLD]
        body = encode({"model": target.model, "prompt": call.request.prompt, **kept, "response_format": "b64_json"})
        data, _, headers = await self._asked("/images/generations", _JSON, body, call)
        rows = whole.decoded(data, self._name).get("data")
        return _texts(
            [row.get("b64_json") if isinstance(row, dict) else row for row in rows or ()], self._name
        ), headers

    async def _sized(self, call: Call, target: Target) -> tuple[list[str], Headers]:
        """The same wish by image/generate, which takes any size."""
        order: images.Order = call.request
        call.dropped = [key for key in call.fields if key not in _BODY | _TOLD]
        body: dict[str, Any] = {"model": target.model, "prompt": order.prompt, "format": order.format}
        body |= {"width": order.width, "height": order.height}
        if not order.safe:
            body["safe_mode"] = False
        data, _, headers = await self._asked("/image/generate", _JSON, encode(body), call)
        rows = whole.decoded(data, self._name).get("images")
        return _texts(rows or (), self._name), headers

    async def enlarge(self, call: Call, target: Target) -> Whole:
        """image/upscale: a PNG."""
        del target  # Venice has one upscaler, and no name for it
        order: UpscaleOrder = call.request
        parts = [_file(order.image)]
        for name, attribute in _UPSCALE.items():
            if name in call.fields:
                value = getattr(order, attribute)
                parts.append(Part(name, value if isinstance(value, str) else f"{value:g}"))
        if "enhance" in call.fields:
            parts.append(Part("enhance", "true" if order.enhance else "false"))
        call.dropped = [key for key in call.fields if key not in {*_UPSCALE, "enhance", "image", "model"}]
        data, headers = await self._drawn("/image/upscale", parts, call)
        return Whole(data, Usage(images=1), "image/png", headers)

    async def edit(self, call: Call, target: Target) -> Whole:
        """image/edit, and OpenAI's images/edits as far as Venice goes: one picture, no mask."""
        del target
        order: EditOrder = call.request
        if len(order.images) > 1:
            raise UnsupportedParameter(f"Model {order.model!r} takes one image at a time.", param="image")
        parts = [Part("prompt", order.prompt), _file(order.images[0])]
        call.dropped = [key for key in call.fields if key not in _EDIT]
        answers = await together([partial(self._drawn, "/image/edit", parts, call)] * order.n)
        made = [data for data, _ in answers]
        if order.format != "png" or order.size is not None:
            from proxy.media.images import Finish

            finish = Finish(order.format, order.quality)
            made = [await finished(data, finish, self._name, size=order.size) for data in made]
        body, type_ = answered(order, made)
        return Whole(body, Usage(images=len(made)), type_, merged([told for _, told in answers]))

    async def _drawn(self, path: str, parts: list[Part], call: Call) -> tuple[bytes, Headers]:
        type_, body = form_body(parts)
        data, _, headers = await self._asked(path, type_, body, call)
        if not (sniff(data[:64]) or "").startswith("image/"):
            if data.lstrip()[:1] == b"{":
                whole.decoded(data, self._name)
            raise whole.malformed(self._name, "an answer that is no picture")
        return data, headers

    async def _asked(self, path: str, type_: str, body: bytes, call: Call) -> tuple[bytes, str, Headers]:
        """Body, content type, and the headers for the caller."""
        given = [("content-type", type_), ("content-length", str(len(body))), ("x-request-id", call.id)]
        response = await self._send("POST", path, given, once(body))
        try:
            data = await response.read(MAX_ANSWER)
        except TransportError as error:
            raise transport_fault(error, self._name) from None
        finally:
            response.close()
        return data, response.header("content-type") or "", passed_on(response.headers, call.dialect)


_EDIT: Final = frozenset(
    {
        *("model", "prompt", "image", "image[]", "images", "n", "size"),
        *("response_format", "output_format", "output_compression", "stream"),
    }
)
_ENDINGS = {"png": "png", "jpeg": "jpg", "webp": "webp", "gif": "gif"}


def _file(payload: Payload) -> Part:
    header = inspect(payload)
    return Part("image", payload.view(), f"image.{_ENDINGS[header.format]}", header.content_type)


def _texts(rows: Any, upstream: str) -> list[str]:
    if not isinstance(rows, (list, tuple)) or not all(isinstance(row, str) for row in rows):
        raise whole.malformed(upstream, "an item that is no picture")
    return list(rows)


def _decoded(text: str, upstream: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise whole.malformed(upstream, "a picture that is not base64") from None
