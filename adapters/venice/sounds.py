"""Speech by Venice: sound as it comes, or OpenAI's events around it.

It knows no codec: Venice makes all six formats. OpenAI's names of voices become Kokoro's, which are what Venice has.
"""

import base64
from collections.abc import AsyncIterable, Awaitable, Callable
from typing import Any, Final

from adapters._http import HttpResponse, TransportError
from adapters.faults import transport_fault
from adapters.line import once
from adapters.offline.voices import OPENAI
from adapters.openai_api import whole
from adapters.openai_api.passing import Bytes
from adapters.replies import Source, Stream
from adapters.venice.said import passed_on
from proxy import tokens
from proxy.call import Call, Ending, Target, Usage
from proxy.media.audio_formats import FORMATS
from proxy.stream import CONTENT_TYPE, frame
from proxy.wire.body import encode
from proxy.wire.speech import SpeechRequest

KEPT: Final = frozenset({"response_format", "speed", "streaming"})
HANDLED: Final = KEPT | {"model", "input", "voice", "stream_format"}
MAX_ERROR: Final = 1 << 20

Send = Callable[[str, str, list[tuple[str, str]], bytes | AsyncIterable[bytes]], Awaitable[HttpResponse]]


async def speak(call: Call, target: Target, send: Send, upstream: str) -> Stream:
    """audio/speech. Raises UpstreamError before the first sound."""
    request: SpeechRequest = call.request
    body: dict[str, Any] = {"model": target.model, "input": request.input}
    body |= {key: value for key, value in call.fields.items() if key in KEPT}
    if voice := request.voice_name(""):
        body["voice"] = OPENAI.get(voice, voice)
    if request.events:
        body["streaming"] = True
    call.dropped = [key for key in call.fields if key not in HANDLED]
    raw = encode(body)
    headers = [("content-type", "application/json"), ("content-length", str(len(raw))), ("x-request-id", call.id)]
    response = await send("POST", "/audio/speech", headers, once(raw))
    type_ = response.header("content-type") or FORMATS[request.response_format or "mp3"].content_type
    usage = Usage(characters=len(request.input))
    source: Source = Bytes(response, usage, upstream)
    if request.events:
        count, _ = await tokens.count([request.input])
        source = Events(source, {"input_tokens": count, "output_tokens": 0, "total_tokens": count})
    try:
        if type_.startswith("application/json"):
            whole.decoded(await response.read(MAX_ERROR), upstream)
            raise whole.malformed(upstream, "an answer that is no sound")
        reply = Stream(source, await source.read(), CONTENT_TYPE if request.events else type_)
    except TransportError as error:
        source.close()
        raise transport_fault(error, upstream) from None
    except BaseException:
        source.close()
        raise
    reply.headers = passed_on(response.headers, call.dialect)
    return reply


class Events:
    """Sound as OpenAI's events: a delta for each piece, and one that says how it was. `told` is the usage in the last."""

    __slots__ = ("_sound", "_told")

    def __init__(self, sound: Source, told: dict[str, int]) -> None:
        self._sound = sound
        self._told = told

    @property
    def ending(self) -> Ending | None:
        return self._sound.ending

    @property
    def usage(self) -> Usage | None:
        return self._sound.usage

    async def read(self) -> bytes:
        piece = await self._sound.read()
        out = b""
        if piece:
            out = frame({"type": "speech.audio.delta", "audio": base64.b64encode(piece).decode("ascii")})
        if self._sound.ending is not None:
            out += frame({"type": "speech.audio.done", "usage": self._told})
        return out

    def close(self) -> None:
        self._sound.close()
