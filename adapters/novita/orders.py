"""Orders for pictures → Novita's bodies. Pure.

Its routes want nearly every field, so that what a caller leaves out is filled in here; the operator's fixed inputs come
before that. Bounds are checked here, so that an error names the caller's own parameter.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from proxy.call import Call
from proxy.errors import BadRequest
from proxy.media import styles
from proxy.wire.images import Order

SYNC: Final = {"flux-1-schnell": "/v3beta/flux-1-schnell"}  # drawn while one waits: model → path
TEXT2IMAGE: Final = "/v3/async/txt2img"
DEFAULTS: Final[dict[str, Any]] = {"steps": 20, "guidance_scale": 7.5, "sampler_name": "Euler a"}
MAX_PROMPT: Final = 1024
SIDES: Final = (128, 2048)
MAX_PICTURES: Final = 8
_HANDLED: Final = frozenset(
    {
        *("model", "prompt", "negative_prompt", "width", "height", "size", "steps", "cfg_scale", "seed", "n"),
        *("style_preset", "format", "output_format", "output_compression", "safe_mode", "moderation", "stream"),
        *("return_binary", "response_format", "embed_exif_metadata", "lora_strength"),
    }
)


class Wish(NamedTuple):
    """`path` and `body` of the request; `dropped` are the caller's keys that nobody honours."""

    path: str
    body: dict[str, Any]
    dropped: list[str]


def wish_of(call: Call, model: str, fixed: Mapping[str, Any]) -> Wish:
    """The order of a call. `fixed` are the operator's inputs for this model. Raises BadRequest naming the parameter."""
    order: Order = call.request
    dropped = [key for key in call.fields if key not in _HANDLED]
    prompt, avoided = order.prompt, order.negative_prompt
    if order.style is not None:
        prompt, avoided = styles.style(order.style).apply(prompt, avoided)
    _within("prompt", len(prompt), (1, MAX_PROMPT), " characters, with its style" if order.style else " characters")
    _within("n", order.n, (1, MAX_PICTURES), "")
    by_side = order.shape in ("venice", "binary")
    for name, side in (("width", order.width), ("height", order.height)):
        _within(name if by_side else "size", side, SIDES, " pixels a side")
    shared: dict[str, Any] = {"prompt": prompt, "width": order.width, "height": order.height, "image_num": order.n}
    shared |= {"steps": order.steps} if order.steps is not None else {}
    if (path := SYNC.get(model)) is not None:
        unheard = ("negative_prompt", "cfg_scale", "lora_strength", "safe_mode", "moderation")
        dropped += [key for key in unheard if key in call.fields]
        body = {"steps": 4, **fixed, **shared, "response_image_type": order.format}
        return Wish(path, body | ({"seed": seed} if (seed := _seed(call)) >= 0 else {}), dropped)
    request: dict[str, Any] = {**DEFAULTS, **_default_steps(call), **fixed, "model_name": model, **shared}
    request["seed"] = _seed(call)
    if avoided:
        _within("negative_prompt", len(avoided), (0, MAX_PROMPT), " characters, with what its style avoids")
        request["negative_prompt"] = avoided
    if order.cfg_scale is not None:
        _within("cfg_scale", order.cfg_scale, (1, 30), "")
        request["guidance_scale"] = order.cfg_scale
    if order.lora_strength is not None:
        if request.get("loras"):
            first, *rest = request["loras"]
            request["loras"] = [{**first, "strength": order.lora_strength / 100}, *rest]
        else:
            dropped.append("lora_strength")
    return Wish(TEXT2IMAGE, {"extra": extra_of(order.format, safe=order.safe), "request": request}, dropped)


def extra_of(format: str, *, safe: bool = False) -> dict[str, Any]:
    """`safe` has its detection of adult content look at each picture, which costs extra."""
    watched = {"enable_nsfw_detection": True, "nsfw_detection_level": 2} if safe else {}
    return {"response_image_type": format, **watched}


def adult(image: Mapping[str, Any], threshold: float) -> bool:
    """Whether a picture was found to be adult. `valid` only says that the detection worked; it may say nothing at all."""
    found = image.get("nsfw_detection_result")
    if not isinstance(found, dict) or not found.get("valid"):
        return False
    confidence = found.get("confidence")
    return isinstance(confidence, (int, float)) and confidence >= threshold


def _seed(call: Call) -> int:
    """0 is Venice's "any", as is none; Novita's is -1."""
    if bytes(call.fields.get("seed", b"0")) == b"0":
        return -1
    seed: int = call.request.seed
    _within("seed", seed, (0, 4_294_967_295), "")
    return seed


def _default_steps(call: Call) -> dict[str, Any]:
    limits = call.plan.model.constraints if call.plan is not None else None
    return {"steps": limits.steps.default} if limits is not None and limits.steps is not None else {}


def _within(name: str, value: float, span: tuple[float, float], unit: str) -> None:
    low, high = span
    if not low <= value <= high:
        raise BadRequest(f"{name}: expected {low:g} to {high:g}{unit}, got {value:g}.", param=name)
