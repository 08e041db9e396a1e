"""A chat → the inputs of a model: its schema decides where the text goes, how parameters are called and what they may be.

There is no schema that models share, so nothing is sent that this one does not declare. Pure.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from adapters.prompts import render, turns_of
from adapters.text_chat import TEXT_ONLY_REFUSES, stops_of
from adapters.vaikerai.schema import Schema, first, fitted, takes_list
from proxy.call import Call, Operation
from proxy.errors import UnsupportedParameter
from proxy.params import STRUCTURAL
from proxy.ports import Caps
from proxy.wire.body import NO_OPS
from proxy.wire.chat import ChatRequest, Message

LIMITS = ("max_new_tokens", "max_tokens", "max_completion_tokens", "max_length")
SAME = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "seed",
    "frequency_penalty",
    "presence_penalty",
    "repetition_penalty",
)
PICTURES = ("image_input", "images", "input_images", "image", "input_image", "img")
CAPS = Caps(
    operations=frozenset(
        {
            *(Operation.CHAT, Operation.EMBEDDINGS, Operation.SPEECH),
            *(Operation.IMAGES, Operation.IMAGE_EDIT, Operation.UPSCALE),
        }
    ),
    forwards=frozenset(SAME),
    translates={"max_tokens": "max_new_tokens", "max_completion_tokens": "max_new_tokens", "stop": "stop_sequences"},
    refuses=TEXT_ONLY_REFUSES,
    refuses_elsewhere={Operation.EMBEDDINGS: frozenset({"dimensions"}), Operation.SPEECH: frozenset({"instructions"})},
)
DEFAULT_LIMIT = 1024  # models' own defaults are often 128
_HANDLED = STRUCTURAL | {"max_tokens", "max_completion_tokens", "stop"}
# Never taken from a caller under their own names: they are the operator's to give (`inputs`, `allow_unsafe`).
_GUARDED = re.compile(r"safety|moderation|nsfw", re.IGNORECASE)


class Inputs(NamedTuple):
    """`given` goes out; `limit` is how many tokens were asked for; `stops` end the text here as well.

    `pictures`: where each stands in the request, and its URL; they go into the input `picture_input`.
    """

    given: dict[str, Any]
    limit: int | None
    stops: tuple[str, ...]
    dropped: list[str]
    pictures: Sequence[tuple[str, str]] = ()
    picture_input: str = ""


def inputs_of(call: Call, schema: Schema, template: str | None) -> Inputs:
    """Raises UnsupportedParameter and BadRequest, naming what the model does not take."""
    assert call.plan is not None
    request: ChatRequest = call.request
    model = call.plan.model.id
    picture_input = first(schema, PICTURES) or ""
    given, stops = _text(call, schema, template, sees=bool(picture_input))
    pictures = _pictures(request.messages)
    if len(pictures) > 1 and not takes_list(schema[picture_input]):
        raise UnsupportedParameter(f"Model {model!r} takes one image at a time.", param=pictures[1][0])
    limit = None
    if (name := first(schema, LIMITS)) is not None:
        most = schema[name].get("maximum")
        limit = DEFAULT_LIMIT if request.limit is None else request.limit
        given[name] = limit = limit if most is None else min(limit, int(most))
    _stop(request, schema, given)
    dropped: list[str] = []
    for key in call.fields:
        if key in _HANDLED:
            continue
        if key in SAME and key in schema:
            given[key] = _warm(key, fitted_field(call, key, schema[key]), schema[key], model)
        elif (value := own_input(call, key, schema)) is not None:
            given[key] = value
        else:
            dropped.append(key)
    return Inputs(given, limit, stops, dropped, pictures, picture_input)


def fitted_field(call: Call, key: str, rule: Mapping[str, Any]) -> Any:
    """A key of the request as an input takes it, but for the bounds of `temperature`, which `_warm` bends."""
    assert call.plan is not None
    value = msgspec.json.decode(bytes(call.fields[key]))
    if key == "temperature" and value == 0:
        return value
    return fitted(value, rule, param=key, model=call.plan.model.id)


def own_input(call: Call, key: str, schema: Schema) -> Any:
    """The value of a key that is no parameter of the route and that the model itself declares; None for any other."""
    assert call.plan is not None
    if key not in schema or key in NO_OPS or key in PICTURES or _GUARDED.search(key):
        return None
    value = msgspec.json.decode(bytes(call.fields[key]))
    return fitted(value, schema[key], param=key, model=call.plan.model.id)


def _text(call: Call, schema: Schema, template: str | None, *, sees: bool) -> tuple[dict[str, Any], tuple[str, ...]]:
    assert call.plan is not None
    request: ChatRequest = call.request
    model = call.plan.model.id
    system = call.plan.features.system
    messages = [Message("system", system), *request.messages] if system else request.messages
    if schema.get("messages", {}).get("type") == "array":
        turns, _ = turns_of(messages, model=model, images=sees)
        return {"messages": [{"role": turn.role, "content": turn.text} for turn in turns]}, ()
    own = "system_prompt" in schema
    prompt = render(
        messages, template or "plain", model=model, own_system=own, wraps_prompt=template is None, images=sees
    )
    given = {"prompt": prompt.text}
    if own and prompt.system is not None:
        given["system_prompt"] = prompt.system
    if template is not None and "prompt_template" in schema:
        given["prompt_template"] = "{prompt}"  # the prompt is written already: the model is not to wrap it again
    return given, prompt.stops


def _pictures(messages: Iterable[Message]) -> list[tuple[str, str]]:
    found = []
    for index, message in enumerate(messages):
        for number, part in enumerate(message.content if isinstance(message.content, list) else ()):
            if part.type == "image_url":
                url = part.image_url.get("url") if isinstance(part.image_url, dict) else part.image_url
                found.append((f"messages[{index}].content[{number}]", str(url)))
    return found


def _stop(request: ChatRequest, schema: Schema, given: dict[str, Any]) -> None:
    """Stops go out where they can, to save work; they are enforced here anyway."""
    stops = stops_of(request)
    if not stops:
        return
    if schema.get("stop", {}).get("type") == "array":
        given["stop"] = stops
    elif "stop_sequences" in schema and not any("," in stop for stop in stops):
        given["stop_sequences"] = ",".join(stops)


def _warm(name: str, value: Any, rule: Mapping[str, Any], model: str) -> Any:
    low = rule.get("minimum")
    if name != "temperature" or value != 0:
        return value
    if low is not None and 0 < low <= 0.01:
        return float(low)  # "as little chance as there is", in this model's terms
    return fitted(value, rule, param=name, model=model)
