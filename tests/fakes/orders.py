"""Calls for pictures, speech and vectors with their plans, as the routes make them, for tests of one adapter alone."""

import json
from typing import Any

from proxy.call import ANYBODY, Call, Dialect, Operation, Plan, Target
from proxy.catalogue import Model
from proxy.features import NONE
from proxy.media.payload import Payload
from proxy.wire import edits, images
from proxy.wire.body import fields_of, head_of
from proxy.wire.embeddings import EmbeddingsRequest
from proxy.wire.speech import SpeechRequest


def _planned(operation: Operation, type_: Any, target: Target, request: Any, raw: bytes, stream: bool = False) -> Call:
    call = Call(
        id="call-1",
        operation=operation,
        dialect=Dialect.OPENAI,
        request=request,
        raw=raw,
        fields=fields_of(raw),
        principal=ANYBODY,
        stream=stream,
    )
    call.plan = Plan(Model(id="m", type=type_, name="m", targets=(target,)), (target,), "m", "id", NONE)
    return call


def _raw(body: dict[str, Any]) -> bytes:
    return json.dumps({"model": "m"} | body).encode()


def generate_call(target: Target, **body: Any) -> Call:
    """Venice's image/generate."""
    raw = _raw({"prompt": "a boat"} | body)
    order = images.from_generate(head_of(raw, images.GenerateRequest))
    return _planned(Operation.IMAGES, "image", target, order, raw)


def generations_call(target: Target, **body: Any) -> Call:
    """OpenAI's images/generations."""
    raw = _raw({"prompt": "a boat"} | body)
    order = images.from_generations(head_of(raw, images.GenerationsRequest))
    return _planned(Operation.IMAGES, "image", target, order, raw)


def upscale_call(target: Target, image: bytes, **body: Any) -> Call:
    raw = _raw(body)
    order = edits.upscale_order(head_of(raw, edits.UpscaleRequest), {"image": [Payload(image)]})
    return _planned(Operation.UPSCALE, "upscale", target, order, raw)


def edits_call(target: Target, *pictures: bytes, mask: bytes | None = None, **body: Any) -> Call:
    """OpenAI's images/edits."""
    raw = _raw({"prompt": "make it red"} | body)
    files = {"image": [Payload(data) for data in pictures]}
    if mask is not None:
        files["mask"] = [Payload(mask, field="mask")]
    order = edits.edits_order(head_of(raw, edits.EditsRequest), files, None)
    return _planned(Operation.IMAGE_EDIT, "inpaint", target, order, raw)


def speech_call(target: Target, **body: Any) -> Call:
    raw = _raw({"input": "Ciao, Venezia."} | body)
    request = head_of(raw, SpeechRequest)
    return _planned(Operation.SPEECH, "tts", target, request, raw, bool(request.streaming or request.events))


def embeddings_call(target: Target, **body: Any) -> Call:
    raw = _raw({"input": ["one", "two"]} | body)
    return _planned(Operation.EMBEDDINGS, "embedding", target, head_of(raw, EmbeddingsRequest), raw)
