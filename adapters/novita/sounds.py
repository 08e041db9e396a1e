"""Speech by Novita, at once: each model is a route of its own, in one of two shapes.

It knows no codec. Invariant: a format that a route does not make is made of one that it does.
"""

from typing import Any, Final

from adapters.novita.tasks import Tasks
from adapters.replies import Whole
from adapters.sounding import sounded
from proxy.call import Call, Target
from proxy.errors import BadRequest, Fault, NotSupported, UpstreamError
from proxy.media.audio_formats import RATE
from proxy.wire.speech import SpeechRequest

_MINIMAX: Final = ("mp3", "flac", "wav", "pcm")
HANDLED: Final = frozenset({"model", "input", "voice", "response_format", "speed", "stream_format", "streaming"})


async def speak(call: Call, target: Target, tasks: Tasks) -> Whole:
    """audio/speech. Raises BadRequest naming what the route cannot do."""
    request: SpeechRequest = call.request
    call.dropped = [key for key in call.fields if key not in HANDLED]
    if request.speed is not None and not 0.5 <= request.speed <= 2:
        raise BadRequest(f"speed: expected 0.5 to 2, got {request.speed:g}.", param="speed")
    fixed = tasks.options.inputs.get(target.model, {})
    if target.model.startswith("minimax-speech"):
        return await _minimax(call, target, tasks, fixed)
    if target.model == "glm-tts":
        return await _glm(call, tasks, fixed)
    raise NotSupported(f"The upstream {tasks.name!r} has no route that speaks as {target.model!r}.")


async def _minimax(call: Call, target: Target, tasks: Tasks, fixed: dict[str, Any]) -> Whole:
    """Hexadecimal in JSON."""
    assert call.plan is not None
    request: SpeechRequest = call.request
    voice = request.voice_name("") or next(iter(call.plan.model.voices), "")
    settings: dict[str, Any] = {**fixed.get("voice_setting", {}), **({"voice_id": voice} if voice else {})}
    if "voice_id" not in settings:
        raise BadRequest("voice: Required.", param="voice")
    if request.speed is not None:
        settings["speed"] = request.speed
    wanted = request.response_format or "mp3"
    form = wanted if wanted in _MINIMAX else "flac"
    audio = {**fixed.get("audio_setting", {}), "format": form} | ({"sample_rate": RATE} if form == "pcm" else {})
    body = {**fixed, "text": request.input, "voice_setting": settings, "audio_setting": audio}
    answer = await tasks.ask("POST", f"/v3/{target.model}", body)
    try:
        sound = bytes.fromhex(str(answer["audio"]))
    except (KeyError, ValueError):
        said = f"The upstream {tasks.name!r} sent an answer that is no sound."
        raise UpstreamError(Fault.MALFORMED, said, accepted=True) from None
    return await sounded(call, sound, tasks.name, bare=form == "pcm")


async def _glm(call: Call, tasks: Tasks, fixed: dict[str, Any]) -> Whole:
    """The sound itself."""
    request: SpeechRequest = call.request
    body: dict[str, Any] = {**fixed, "input": request.input, "response_format": "wav"}
    if voice := request.voice_name(""):
        body["voice"] = voice
    if request.speed is not None:
        body["speed"] = request.speed
    _, sound = await tasks.exchange("POST", "/v3/glm-tts", body)
    return await sounded(call, sound, tasks.name)
