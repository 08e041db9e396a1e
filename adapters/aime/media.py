"""Pictures and speech of an AIME server: only names that an endpoint declares, only values within its bounds.

Results hold the files themselves. It refuses to know jobs. Invariant: a result without a file has failed, whatever it says
of itself.
"""

import asyncio
import base64
import binascii
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final

from adapters.aime.inputs import Schema, within
from adapters.drawn import Drawn, made
from adapters.replies import Whole
from adapters.sounding import sounded
from adapters.together import together
from proxy.call import Call, Target, Usage
from proxy.errors import BadRequest, Fault, NotSupported, UnsupportedParameter, UpstreamError
from proxy.media import styles
from proxy.wire import images
from proxy.wire.speech import SpeechRequest

DRAWS: Final[Schema] = {name: {} for name in ("prompt", "width", "height", "steps", "guidance", "seed")}
SPEAKS: Final[Schema] = {name: {} for name in ("text", "voice")}
ANYBODY: Final = frozenset({"", "default", "af_sky"})  # names of voices that ask for none: Venice's default is one
_STEPS: Final = ("steps", "num_inference_steps", "num_steps")
_GUIDANCE: Final = ("guidance", "guidance_scale", "cfg_scale")
_OURS: Final = frozenset(
    {
        *("model", "prompt", "n", "size", "width", "height", "steps", "cfg_scale", "seed", "style_preset", "stream"),
        *("negative_prompt", "format", "output_format", "output_compression", "response_format", "return_binary"),
        "embed_exif_metadata",
    }
)
SPOKEN: Final = frozenset({"model", "input", "voice", "speed", "response_format", "stream_format", "streaming"})

Result = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]


async def draw(call: Call, target: Target, schema: Schema | None, result: Result) -> Whole:
    """image/generate and images/generations: as few jobs as the endpoint can make them in."""
    assert call.plan is not None
    order: images.Order = call.request
    name = call.plan.model.id
    images.suits(order, call.plan.model)
    schema = DRAWS if schema is None else schema
    if "prompt" not in schema or "chat_context" in schema:
        raise NotSupported(f"Model {name!r} takes no prompt for pictures, so that it cannot draw.")
    given, call.dropped = wish_of(call, schema, name)
    each = int(schema["num_samples"].get("maximum", 1)) if "num_samples" in schema else 1
    wishes = []
    for job in range(math.ceil(order.n / each)):
        wish = dict(given)
        if "num_samples" in schema:
            wish["num_samples"] = min(each, order.n - job * each)
        if "seed" in wish:
            wish["seed"] += job * each
        wishes.append(partial(result, target.model, wish))
    results = await together(wishes)
    drawn = [one for found in results for one in await _pictures(found, target.upstream)]
    took = max(_seconds(found) for found in results)
    done = await made(order, drawn[: order.n], took, target.upstream, target.model)
    body, type_, headers = images.answer(order, done, id=call.id, fields=call.fields, started=call.started)
    return Whole(body, Usage(images=len(done.pictures)), type_, headers)


def wish_of(call: Call, schema: Schema, model: str) -> tuple[dict[str, Any], list[str]]:
    """The inputs of one job but for how many it makes, and the caller's keys that nobody honours."""
    order: images.Order = call.request
    dropped = [key for key in call.fields if key not in _OURS]
    prompt, avoided = order.prompt, order.negative_prompt
    if order.style is not None:
        prompt, avoided = styles.style(order.style).apply(prompt, avoided)
    given: dict[str, Any] = {"prompt": prompt}
    if "negative_prompt" in schema and avoided:
        given["negative_prompt"] = avoided
    elif order.negative_prompt:
        dropped.append("negative_prompt")
    for side in ("width", "height"):
        if side in schema:
            given[side] = _side(call, side, schema[side], model)
    for param, value, names in (("steps", order.steps, _STEPS), ("cfg_scale", order.cfg_scale, _GUIDANCE)):
        if value is None:
            continue
        if (name := _first(schema, names)) is None:
            dropped.append(param)
        else:
            within(param, value, schema[name], model)
            given[name] = value
    if bytes(call.fields.get("seed", b"0")) != b"0":  # 0 is Venice's "any"
        if "seed" not in schema:
            dropped.append("seed")
        elif order.seed < 0:
            raise BadRequest(f"seed must be at least 0 for model {model!r}.", param="seed")
        else:
            within("seed", order.seed, schema["seed"], model)
            given["seed"] = order.seed
    return given, dropped


def _side(call: Call, side: str, rule: Mapping[str, Any], model: str) -> int:
    """What was asked for, within bounds; where nothing was, the nearest to our own default."""
    order: images.Order = call.request
    value: int = getattr(order, side)
    if side in call.fields:
        within(side, value, rule, model)
    elif bytes(call.fields.get("size", b'"auto"')) != b'"auto"':
        within("size", value, rule, model)
    return int(max(rule.get("minimum", value), min(rule.get("maximum", value), value)))


async def speak(call: Call, target: Target, schema: Schema | None, result: Result) -> Whole:
    """audio/speech."""
    assert call.plan is not None
    request: SpeechRequest = call.request
    name = call.plan.model.id
    schema = SPEAKS if schema is None else schema
    if "text" not in schema:
        raise NotSupported(f"Model {name!r} takes no text, so that it cannot speak.")
    given: dict[str, Any] = {"text": request.input}
    if (voice := request.voice_name("")) not in ANYBODY:
        allowed = schema.get("voice", {}).get("allowed")
        if "voice" not in schema or (isinstance(allowed, list) and voice not in allowed):
            said = f"Model {name!r} does not have this voice."
            raise UnsupportedParameter(said, param="voice")
        given["voice"] = voice
    if request.speed not in (None, 1):
        if "speed" not in schema:
            raise UnsupportedParameter(f"Model {name!r} speaks at one speed only.", param="speed")
        within("speed", request.speed or 1, schema["speed"], name)
        given["speed"] = request.speed
    call.dropped = [key for key in call.fields if key not in SPOKEN]
    found = await result(target.model, given)
    return await sounded(call, await _unpacked(found.get("audio_output"), target.upstream), target.upstream)


async def _pictures(found: dict[str, Any], upstream: str) -> list[Drawn]:
    rows = found.get("images")
    seed = found.get("seed")
    if not isinstance(rows, list) or not rows:
        raise _empty(upstream)
    return [Drawn(await _unpacked(row, upstream), seed=seed if isinstance(seed, int) else None) for row in rows]


async def _unpacked(text: Any, upstream: str) -> bytes:
    """Base64, bare or in a data URL. Large files are unpacked in a thread."""
    if not isinstance(text, str):
        raise _empty(upstream)
    packed = text.partition(",")[2] if text[:5].lower() == "data:" else text
    try:
        if len(packed) > 1 << 20:
            return await asyncio.to_thread(base64.b64decode, packed, validate=True)
        return base64.b64decode(packed, validate=True)
    except (binascii.Error, ValueError):
        raise _empty(upstream) from None


def _empty(upstream: str) -> UpstreamError:
    said = f"The upstream {upstream!r} gave a result that holds no file."
    return UpstreamError(Fault.MALFORMED, said, accepted=True)


def _first(schema: Schema, names: Iterable[str]) -> str | None:
    return next((name for name in names if name in schema), None)


def _seconds(found: dict[str, Any]) -> float:
    took = found.get("compute_duration")
    return float(took) if isinstance(took, (int, float)) else 0.0
