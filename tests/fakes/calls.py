"""A Call with its Plan, as the stages before an adapter would have made it, for tests of one adapter alone."""

import json
from typing import Any

from proxy.call import ANYBODY, Call, Dialect, Operation, Plan, Target
from proxy.catalogue import TYPE_OF, Catalogue, Model
from proxy.features import features_of
from proxy.media.payload import Payload
from proxy.wire import edits, images
from proxy.wire.body import fields_of, head_of
from proxy.wire.chat import ChatRequest
from proxy.wire.embeddings import EmbeddingsRequest
from proxy.wire.speech import SpeechRequest

NOBODY = Catalogue(models={}, traits={}, mappings={}, characters={}, upstreams=frozenset())


def chat_call(target: Target, *, suffix: dict[str, Any] | None = None, **body: Any) -> Call:
    """A chat at `target`, of a model that callers know as `m`. `suffix` are the features of the model's name."""
    raw = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hello"}]} | body).encode()
    request = head_of(raw, ChatRequest)
    call = Call(
        id="call-1",
        operation=Operation.CHAT,
        dialect=Dialect.OPENAI,
        request=request,
        raw=raw,
        fields=fields_of(raw),
        principal=ANYBODY,
        stream=bool(request.stream),
    )
    model = Model(id="m", type="text", name="m", targets=(target,))
    features = features_of(request.venice_parameters, suffix or {}, NOBODY)
    call.plan = Plan(model, (target,), "m", "id", features)
    return call


def other_call(
    target: Target,
    operation: Operation,
    request: Any,
    fields: dict[str, Any],
    *,
    dialect: Dialect = Dialect.OPENAI,
    **more: Any,
) -> Call:
    """A call of another route: its decoded head or order, and the keys that the caller sent. `more` is the model's."""
    raw = json.dumps(fields).encode()
    call = Call(
        id="call-1",
        operation=operation,
        dialect=dialect,
        request=request,
        raw=raw,
        fields=fields_of(raw),
        principal=ANYBODY,
        stream=bool(getattr(request, "stream", False)),
    )
    type_ = TYPE_OF[operation]
    model = Model(**({"id": "m", "type": type_, "name": "m", "targets": (target,)} | more))
    call.plan = Plan(model, (target,), "m", "id", features_of(None, {}, NOBODY))
    return call


def draw_call(
    target: Target, *, dialect: Dialect = Dialect.OPENAI, model: dict[str, Any] | None = None, **body: Any
) -> Call:
    """images/generations."""
    fields = {"model": "m", "prompt": "a boat"} | body
    order = images.from_generations(head_of(json.dumps(fields).encode(), images.GenerationsRequest))
    order.stream = bool(body.get("stream"))
    return other_call(target, Operation.IMAGES, order, fields, dialect=dialect, **(model or {}))


def generate_call(
    target: Target, *, dialect: Dialect = Dialect.VENICE, model: dict[str, Any] | None = None, **body: Any
) -> Call:
    """image/generate."""
    fields = {"model": "m", "prompt": "a boat"} | body
    order = images.from_generate(head_of(json.dumps(fields).encode(), images.GenerateRequest))
    return other_call(target, Operation.IMAGES, order, fields, dialect=dialect, **(model or {}))


def upscale_call(target: Target, picture: bytes, **body: Any) -> Call:
    """image/upscale, with a file."""
    request = head_of(json.dumps(body).encode(), edits.UpscaleRequest)
    order = edits.upscale_order(request, {"image": [Payload(picture)]})
    return other_call(target, Operation.UPSCALE, order, body | {"image": "file"}, dialect=Dialect.VENICE)


def edit_call(target: Target, picture: bytes, mask: bytes | None = None, **body: Any) -> Call:
    """images/edits, with a file."""
    fields = {"prompt": "make it red"} | body
    files = {"image": [Payload(picture)]} | ({"mask": [Payload(mask, field="mask")]} if mask is not None else {})
    size = images.size_of(body["size"]) if "size" in body else None
    order = edits.edits_order(head_of(json.dumps(fields).encode(), edits.EditsRequest), files, size)
    return other_call(target, Operation.IMAGE_EDIT, order, fields | dict.fromkeys(files, "file"))


def speech_call(target: Target, *, model: dict[str, Any] | None = None, **body: Any) -> Call:
    fields = {"model": "m", "input": "Ciao."} | body
    request = head_of(json.dumps(fields).encode(), SpeechRequest)
    call = other_call(target, Operation.SPEECH, request, fields, **(model or {}))
    call.stream = bool(request.streaming or request.events)
    return call


def embed_call(target: Target, given: Any, **body: Any) -> Call:
    fields = {"model": "m", "input": given} | body
    request = head_of(json.dumps(fields).encode(), EmbeddingsRequest)
    return other_call(target, Operation.EMBEDDINGS, request, fields)


async def drained(reply: Any) -> bytes:
    """Everything that a Reply gives until its end."""
    out = b""
    while data := await reply.next():
        out += data
    return out
