"""Orders for pictures → the inputs of a model, by its schema. Pure but for the seed that the route has rolled already.

It owns what each wish is called by different models, and what becomes of a wish that a model has no input for: what would
change the picture's shape is refused by name, a hint is dropped and named. It refuses to know predictions and files.
"""

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from adapters.vaikerai.inputs import own_input
from adapters.vaikerai.schema import Schema, first, fitted
from proxy.call import Call
from proxy.errors import NotSupported, UnsupportedParameter
from proxy.media import styles
from proxy.wire.images import Order

STEPS = ("num_inference_steps", "steps", "num_steps")
GUIDANCE = ("guidance_scale", "guidance", "cfg", "cfg_scale")
UNSAFE = ("disable_safety_checker",)
# Keys of the two routes that are no wishes about the picture, or are honoured here whatever the model takes.
_OURS = frozenset(
    {
        *("model", "prompt", "n", "size", "width", "height", "response_format", "return_binary", "format"),
        *("output_format", "output_compression", "seed", "negative_prompt", "steps", "cfg_scale", "style_preset"),
        *("safe_mode", "moderation", "background", "embed_exif_metadata", "stream", "lora_strength"),
    }
)
_RATIO = re.compile(r"(\d{1,4})[:x](\d{1,4})")


class Wish(NamedTuple):
    """Inputs of one prediction but for the seed; `each` pictures come of it at most. `seed_input` is "" without one."""

    given: dict[str, Any]
    each: int
    seed_input: str
    dropped: list[str]


def wish_of(call: Call, schema: Schema, *, unsafe: bool) -> Wish:
    """Raises NotSupported for a model that draws nothing from a prompt, BadRequest for what it cannot do."""
    assert call.plan is not None
    order: Order = call.request
    model = call.plan.model.id
    if "prompt" not in schema:
        raise NotSupported(f"Model {model!r} takes no prompt, so that it cannot draw.")
    dropped: list[str] = []
    given = _words(order, schema, dropped)
    given |= _size(call, order, schema, model)
    given |= _numbers(call, order, schema, model, dropped)
    given |= _finish(call, order, schema, model, dropped, unsafe=unsafe)
    for key in call.fields:
        if key not in _OURS:
            value = own_input(call, key, schema)
            if value is None:
                dropped.append(key)
            else:
                given[key] = value
    each = 1
    if order.n > 1 and "num_outputs" in schema:
        each = min(order.n, int(schema["num_outputs"].get("maximum", order.n)))
    return Wish(given, each, "seed" if "seed" in schema else "", dropped)


def seeds_of(call: Call, count: int) -> list[int | None]:
    """One seed for each prediction: the caller's, counting up, or None where none was asked for (0 is Venice's none)."""
    order: Order = call.request
    asked = bytes(call.fields.get("seed", b"0")) != b"0"
    return [order.seed + i if asked else None for i in range(count)]


def _words(order: Order, schema: Schema, dropped: list[str]) -> dict[str, Any]:
    prompt, avoided = order.prompt, order.negative_prompt
    if order.style is not None:
        prompt, avoided = styles.style(order.style).apply(prompt, avoided)
    given: dict[str, Any] = {"prompt": prompt}
    if avoided and "negative_prompt" in schema:
        given["negative_prompt"] = avoided
    elif order.negative_prompt:
        dropped.append("negative_prompt")
    return given


def _size(call: Call, order: Order, schema: Schema, model: str) -> dict[str, Any]:
    """The size that was asked for, in pixels or as the nearest ratio; nothing where the model may choose."""
    named = bytes(call.fields.get("size", b'"auto"')) != b'"auto"'
    if not (named or "width" in call.fields or "height" in call.fields):
        return {}
    if "width" in schema and "height" in schema:
        names = ("size", "size") if named else ("width", "height")
        sides = zip(("width", "height"), (order.width, order.height), names, strict=True)
        return {side: fitted(value, schema[side], param=name, model=model) for side, value, name in sides}
    param = "size" if named else "width" if "width" in call.fields else "height"
    for name in ("size", "aspect_ratio"):
        if name in schema and (near := _nearest(order.width, order.height, schema[name])) is not None:
            return {name: near}
    raise UnsupportedParameter(f"The size of pictures cannot be chosen for model {model!r}.", param=param)


def _nearest(width: int, height: int, rule: Mapping[str, Any]) -> str | None:
    """The choice whose shape is most like this one, and of those the one whose area is."""
    choices = [(text, found) for text in rule.get("enum") or () if (found := _RATIO.fullmatch(str(text)))]
    sized = [(text, int(found[1]), int(found[2])) for text, found in choices if int(found[1]) and int(found[2])]
    if not sized:
        return None

    def far(choice: tuple[str, int, int]) -> tuple[float, float]:
        _, w, h = choice
        return round(abs(math.log(w / h) - math.log(width / height)), 3), abs(math.log((w * h) / (width * height)))

    return str(min(sized, key=far)[0])


def _numbers(call: Call, order: Order, schema: Schema, model: str, dropped: list[str]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for param, value, names in (("steps", order.steps, STEPS), ("cfg_scale", order.cfg_scale, GUIDANCE)):
        if value is None:
            continue
        if (name := first(schema, names)) is None:
            dropped.append(param)
        else:
            given[name] = fitted(value, schema[name], param=param, model=model)
    if "seed" in call.fields and "seed" not in schema:
        dropped.append("seed")
    if order.n > 1 and "num_outputs" in schema:
        given["num_outputs"] = min(order.n, int(schema["num_outputs"].get("maximum", order.n)))
    if order.lora_strength is not None:
        if "lora_scale" in schema:
            share = order.lora_strength / 100
            given["lora_scale"] = fitted(share, schema["lora_scale"], param="lora_strength", model=model)
        else:
            dropped.append("lora_strength")
    return given


def _finish(
    call: Call, order: Order, schema: Schema, model: str, dropped: list[str], *, unsafe: bool
) -> dict[str, Any]:
    given: dict[str, Any] = {}
    if (form := spelled(order.format, schema.get("output_format", {}))) is not None:
        given["output_format"] = form
    if "output_compression" in call.fields and "output_quality" in schema:
        given["output_quality"] = fitted(
            order.quality, schema["output_quality"], param="output_compression", model=model
        )
    if order.transparent:
        if "transparent" not in (schema.get("background", {}).get("enum") or ()):
            raise UnsupportedParameter(f"Model {model!r} draws no transparent background.", param="background")
        given["background"] = "transparent"
    if not order.safe:
        name = first(schema, UNSAFE)
        if unsafe and name is not None:
            given[name] = True
        else:
            dropped.append("moderation" if "moderation" in call.fields else "safe_mode")
    return given


def spelled(format: str, rule: Mapping[str, Any]) -> str | None:
    """Our name of a format as a model's enum spells it; None where it has no such choice."""
    other = {"jpeg": "jpg", "jpg": "jpeg"}.get(format)
    return next((choice for choice in rule.get("enum") or () if choice in (format, other)), None)
