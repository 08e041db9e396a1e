"""Speech by prediction: a text in, a file of sound out, in the format that was asked for.

It knows no voice: what a model calls its voices stands in its schema. Invariant: a format that nobody asked for is what the
model gives, told by its content type; one that was asked for is what is sent.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from adapters.download import AUDIO, Downloads
from adapters.offline.spoken import Spoken
from adapters.replies import Stream, Whole
from adapters.vaikerai.api import Api
from adapters.vaikerai.inputs import own_input
from adapters.vaikerai.orders import spelled
from adapters.vaikerai.pictures import files_in
from adapters.vaikerai.predictions import Predictions
from adapters.vaikerai.reference import Reference
from adapters.vaikerai.schema import Schema, first, fitted
from proxy import tokens
from proxy.call import Call, Usage
from proxy.errors import Fault, NotSupported, RequestError, UnsupportedParameter, UpstreamError
from proxy.media.audio_formats import FORMATS
from proxy.stream import CONTENT_TYPE
from proxy.wire.speech import SpeechRequest

TEXTS = ("text", "prompt", "input", "input_text", "text_input")
VOICES = ("voice", "speaker", "voice_id", "speaker_id")
SPEEDS = ("speed", "speaking_rate", "rate")
FORMS = ("output_format", "audio_format", "response_format", "format")
_OURS = frozenset({"model", "input", "voice", "response_format", "speed", "streaming", "stream_format", "instructions"})


class Sounds:
    """One upstream's."""

    def __init__(self, api: Api, predictions: Predictions, downloads: Downloads) -> None:
        self._api = api
        self._predictions = predictions
        self._downloads = downloads
        self._closing: set[asyncio.Task[Any]] = set()

    async def speak(self, call: Call, reference: Reference) -> Whole | Stream:
        """audio/speech."""
        request: SpeechRequest = call.request
        given, call.dropped = _wish(call, (await self._api.model(reference)).inputs)
        urls = files_in((await self._predictions.result(reference, given))["output"])
        if not urls:
            said = f"The upstream {self._api.name!r} gave an output that holds no sound."
            raise UpstreamError(Fault.MALFORMED, said, accepted=True)
        found = await self._downloads.get(urls[0], AUDIO)
        sound, type_ = found.body, found.content_type
        if request.response_format is not None and type_ not in _types(request.response_format):
            sound, type_ = await self._recoded(sound, request.response_format)
        usage = Usage(characters=len(request.input))
        if not request.events:
            return Whole(sound, usage, type_)
        count, _ = await tokens.count([request.input])
        told = {"input_tokens": count, "output_tokens": 0, "total_tokens": count}
        source = Spoken(_pieces(sound), usage, self._closing, told)
        return Stream(source, await source.read(), CONTENT_TYPE)

    async def _recoded(self, sound: bytes, format: str) -> tuple[bytes, str]:
        from proxy.media import audio

        try:
            return await audio.transcoded(sound, format), FORMATS[format].content_type
        except RequestError as error:
            said = f"The upstream {self._api.name!r} gave a sound that cannot be read: {error.message}."
            raise UpstreamError(Fault.MALFORMED, said, accepted=True) from None

    async def aclose(self) -> None:
        if self._closing:
            await asyncio.wait(list(self._closing))


def _wish(call: Call, schema: Schema) -> tuple[dict[str, Any], list[str]]:
    assert call.plan is not None
    request: SpeechRequest = call.request
    model = call.plan.model.id
    text = first(schema, TEXTS)
    if text is None:
        raise NotSupported(f"Model {model!r} takes no text, so that it cannot speak.")
    given: dict[str, Any] = {text: fitted(request.input, schema[text], param="input", model=model)}
    dropped: list[str] = []
    if voice := request.voice_name(""):
        name = first(schema, VOICES)
        if name is None:
            raise UnsupportedParameter(f"Model {model!r} has one voice only.", param="voice")
        given[name] = fitted(voice, schema[name], param="voice", model=model)
    if request.speed is not None:
        name = first(schema, SPEEDS)
        if name is not None:
            given[name] = fitted(request.speed, schema[name], param="speed", model=model)
        elif request.speed != 1:
            raise UnsupportedParameter(f"Model {model!r} speaks at one speed only.", param="speed")
    if request.response_format is not None and (name := first(schema, FORMS)) is not None:
        form = spelled(request.response_format, schema[name])
        if form is not None:
            given[name] = form
    for key in call.fields:
        if key not in _OURS:
            value = own_input(call, key, schema)
            if value is None:
                dropped.append(key)
            else:
                given[key] = value
    return given, dropped


def _types(format: str) -> set[str]:
    """Content types that are the format that was asked for. Bare samples have none that tells their rate."""
    return {FORMATS[format].content_type} - {"audio/pcm"}


async def _pieces(sound: bytes) -> AsyncIterator[bytes]:
    """64 KiB at a time, so that no event is larger than a client may expect."""
    for at in range(0, len(sound), 65536):
        yield sound[at : at + 65536]
