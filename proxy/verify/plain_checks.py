"""Checks on whole answers and on parameters: what was asked is what is done.

Owns the promises about the chat object, n, stop, token limits, null parameters, models and embeddings.
"""

import base64
import struct
from typing import Any

from proxy.verify.check import check
from proxy.verify.chunk_checks import FINISHES
from proxy.verify.questions import stop_word
from proxy.verify.seen import Fail, Seen, choices, clip

_GROUND = ("plain.status", "plain.whole")
_SHAPED = (*_GROUND, "plain.shape")


def _first(seen: Seen, name: str) -> dict[str, Any]:
    """The first choice of a whole answer. Raises `Skip` or `Fail`."""
    found = choices(seen.json(name))
    if not found:
        raise Fail(f"{name}: no choices: {clip(seen.body(name))}")
    return found[0]


def _text(choice: dict[str, Any]) -> str:
    message = choice.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    return content if isinstance(content, str) else ""


@check("plain.shape", "id, object, created, model, choices[].{index, message.role, finish_reason}", ("plain",), _GROUND)
def shape(seen: Seen) -> None:
    answer = seen.json("plain")
    found = choices(answer)
    fine = (
        isinstance(answer.get("id"), str)
        and answer.get("object") == "chat.completion"
        and type(answer.get("created")) is int
        and isinstance(answer.get("model"), str)
        and "error" not in answer
        and bool(found)
        and all(_is_choice(choice) for choice in found)
    )
    if not fine:
        raise Fail(clip(answer, 400))


def _is_choice(choice: dict[str, Any]) -> bool:
    message = choice.get("message")
    return (
        type(choice.get("index")) is int
        and isinstance(message, dict)
        and message.get("role") == "assistant"
        and isinstance(message.get("content"), str | None)
    )


@check("plain.finish", f"finish_reason is one of {', '.join(FINISHES)}", ("plain",), _SHAPED)
def finish(seen: Seen) -> None:
    for choice in choices(seen.json("plain")):
        if choice.get("finish_reason") not in FINISHES:
            raise Fail(clip({key: value for key, value in choice.items() if key != "message"}))


@check("plain.usage", "a whole answer has usage", ("plain",), _SHAPED)
def usage(seen: Seen) -> None:
    if not isinstance(seen.json("plain").get("usage"), dict):
        raise Fail(clip(seen.json("plain")))


@check("plain.keys", "content, refusal and logprobs are there, if only as null", ("plain",), _SHAPED, "should")
def keys(seen: Seen) -> None:
    for choice in choices(seen.json("plain")):
        missing = {"content", "refusal"} - choice["message"].keys() | {"logprobs"} - choice.keys()
        if missing:
            raise Fail(f"missing: {', '.join(sorted(missing))}: {clip(choice)}")


@check(
    "param.n",
    "n=2: two choices, 0 before 1, in a stream, too",
    ("plain_n", "stream_n"),
    ("plain.shape", "stream.content", "stream.whole"),
)
def n(seen: Seen) -> None:
    indices = [choice.get("index") for choice in choices(seen.json("plain_n"))]
    if indices != [0, 1]:
        raise Fail(f"plain_n: choices {indices}")
    order: list[object] = []
    for chunk in seen.stream("stream_n").chunks:
        order += [choice.get("index") for choice in choices(chunk) if choice.get("index") not in order]
    if order != [0, 1]:
        raise Fail(f"stream_n: choices in order of appearance: {order}")


@check(
    "param.stop",
    "stop ends the text before the stop word, finish_reason stop",
    ("plain", "plain_stop"),
    ("plain.finish",),
)
def stop(seen: Seen) -> None:
    word = stop_word(seen)
    choice = _first(seen, "plain_stop")
    if word in _text(choice) or choice.get("finish_reason") not in ("stop", "length"):
        raise Fail(f"stop {word!r}: {choice.get('finish_reason')!r}: {clip(_text(choice))}")


@check(
    "param.max-tokens", "max_tokens: 1 gives one token and finish_reason length", ("plain_length",), ("plain.finish",)
)
def max_tokens(seen: Seen) -> None:
    choice = _first(seen, "plain_length")
    used = seen.json("plain_length").get("usage") or {}
    if choice.get("finish_reason") != "length" or used.get("completion_tokens", 1) > 1:
        raise Fail(f"{choice.get('finish_reason')!r}, {used.get('completion_tokens')} tokens: {clip(_text(choice))}")


@check("param.null", "optional parameters may be null", ("plain_nulls",), ("plain.status",))
def null(seen: Seen) -> None:
    answer = seen.answer("plain_nulls")
    if answer.status != 200:
        raise Fail(f"{answer.status}: {clip(seen.body('plain_nulls'))}")


@check("param.parts", "content in text parts and the developer role are taken", ("plain_parts",), ("plain.status",))
def parts(seen: Seen) -> None:
    answer = seen.answer("plain_parts")
    if answer.status != 200:
        raise Fail(f"{answer.status}: {clip(seen.body('plain_parts'))}")


# -- models ---------------------------------------------------------------------------------------------


def _is_model(row: object) -> bool:
    return (
        isinstance(row, dict)
        and isinstance(row.get("id"), str)
        and row.get("object") == "model"
        and type(row.get("created")) is int
        and isinstance(row.get("owned_by"), str)
    )


@check("models.list", "models are listed with id, object, created and owned_by", ("models",))
def models(seen: Seen) -> None:
    answer = seen.answer("models")
    body = seen.document("models")
    data = body.get("data")
    if answer.status != 200 or body.get("object") != "list" or not isinstance(data, list):
        raise Fail(f"{answer.status}: {clip(body)}")
    odd = next((row for row in data if not _is_model(row)), None)
    if odd is not None:
        raise Fail(clip(odd))


@check("models.one", "a model is found by its id, slashes written as %2F", ("model",), ("models.list",))
def model(seen: Seen) -> None:
    answer = seen.answer("model")
    row = seen.document("model")
    if answer.status != 200 or not _is_model(row) or row["id"] != seen.model:
        raise Fail(f"{answer.status}: {clip(row)}")


# -- embeddings -----------------------------------------------------------------------------------------


def _vectors(seen: Seen, name: str) -> list[object]:
    body = seen.json(name)
    data = body.get("data")
    rows = [row for row in data if isinstance(row, dict)] if isinstance(data, list) else []
    if body.get("object") != "list" or [row.get("index") for row in rows] != [0, 1]:
        raise Fail(f"{name}: {clip(body)}")
    return [row.get("embedding") for row in rows]


@check("embed.float", "embeddings as floats, in order of the input", ("embed_float",))
def embed_float(seen: Seen) -> None:
    for vector in _vectors(seen, "embed_float"):
        if not isinstance(vector, list) or not vector or not all(isinstance(item, float | int) for item in vector):
            raise Fail(clip(vector))


@check(
    "embed.base64",
    "embeddings as base64 of little-endian float32, when asked",
    ("embed_float", "embed_base64"),
    ("embed.float",),
)
def embed_base64(seen: Seen) -> None:
    for floats, packed in zip(_vectors(seen, "embed_float"), _vectors(seen, "embed_base64"), strict=True):
        if not isinstance(packed, str) or not isinstance(floats, list):
            raise Fail(f"no base64: {clip(packed)}")
        try:
            values = struct.unpack(f"<{len(floats)}f", base64.b64decode(packed, validate=True))
        except (struct.error, ValueError) as error:
            raise Fail(f"{error}: {clip(packed)}") from error
        if any(abs(one - other) > 1e-3 for one, other in zip(values, floats, strict=True)):
            raise Fail("the same input gives another vector as base64 than as floats")


CHECKS = (
    shape,
    finish,
    usage,
    keys,
    n,
    stop,
    max_tokens,
    null,
    parts,
    models,
    model,
    embed_float,
    embed_base64,
)
