"""Kind `offline`: speech, placeholder pictures and Lanczos upscaling as an upstream. It opens no socket and downloads nothing.

It turns calls into what the parts beside it take, and knows neither codecs nor processes. What a part cannot honour is
dropped and named, never imitated.
"""

import asyncio
from typing import Any, ClassVar

from adapters.offline import pictures, voices
from adapters.offline.speech import Speech, reading
from adapters.offline.spoken import Spoken
from adapters.options import OfflineOptions
from adapters.replies import Stream, Whole
from proxy import tokens
from proxy.call import Call, Operation, Target, Usage
from proxy.errors import Fault, UpstreamError
from proxy.params import sort_out
from proxy.ports import Caps, Reply
from proxy.stream import CONTENT_TYPE
from proxy.wire.speech import SpeechRequest

CAPS = Caps(
    operations=frozenset({Operation.SPEECH, Operation.IMAGES, Operation.IMAGE_EDIT, Operation.UPSCALE}),
    forwards=pictures.FORWARDS | {"voice", "response_format", "speed", "streaming", "stream_format"},
)


class Offline:
    """Kind `offline`."""

    kind: ClassVar[str] = "offline"

    def __init__(self, name: str, options: OfflineOptions) -> None:
        self.name = name
        self.options = options
        self.caps: Caps = CAPS
        self._speech: Speech | None = None
        self._closing: set[asyncio.Task[Any]] = set()
        self._pictures = {
            Operation.IMAGES: pictures.draw,
            Operation.UPSCALE: pictures.enlarge,
            Operation.IMAGE_EDIT: pictures.edit,
        }

    @property
    def speech(self) -> Speech:
        """Made at its first use: a process that nobody speaks through is never started."""
        if self._speech is None:
            box = None
            if self.options.model_path:
                from adapters.offline.kokoro import Kokoro

                box = Kokoro(self.options.model_path, self.options.voices_path)
            self._speech = Speech(box=box)
        return self._speech

    async def open(self, call: Call, target: Target) -> Reply:
        """See `Adapter.open`."""
        call.dropped = sort_out(call.fields, self.caps).dropped
        if call.operation is Operation.SPEECH:
            return await self._speak(call, target)
        if call.operation in self._pictures:
            return await self._pictures[call.operation](call)
        said = f"The upstream {self.name!r} cannot serve {call.operation.value}."
        raise UpstreamError(Fault.UNSUPPORTED, said, accepted=False)

    async def _speak(self, call: Call, target: Target) -> Reply:
        del target
        request: SpeechRequest = call.request
        wish = reading(
            request.input,
            voice_name=request.voice_name(voices.DEFAULT),
            format=request.response_format or "mp3",
            speed=1.0 if request.speed is None else request.speed,
            streaming=call.stream,
        )
        usage = Usage(characters=len(request.input))
        told = None
        if request.events:
            count, _ = await tokens.count([request.input])
            told = {"input_tokens": count, "output_tokens": 0, "total_tokens": count}
        source = Spoken(self.speech.speak(wish), usage, self._closing, told)
        try:
            first = await source.read()
        except BaseException:
            source.close()
            raise
        if call.stream:
            return Stream(source, first, CONTENT_TYPE if request.events else wish.content_type)
        return Whole(first, usage, wish.content_type)

    async def probe(self, target: Target | None = None) -> str:
        """Starts what speaks, and says what it is."""
        del target
        await self.speech.warm()
        return f"speech by {'kokoro' if self.options.model_path else 'espeak-ng'}, without a key"

    async def aclose(self) -> None:
        if self._closing:
            await asyncio.wait(list(self._closing))
        if self._speech is not None:
            await self._speech.aclose()


def build(name: str, options: OfflineOptions) -> Offline:
    """See `adapters.build`. Starts nothing."""
    return Offline(name, options)
