"""A whole file of sound, however an upstream made it → the answer that was ordered: the format, and events where they are.

It knows no upstream. Invariant: a format that nobody asked for is the one that came; one that was asked for is what is sent.
"""

import base64
from typing import Final

from adapters.download import sniff
from adapters.replies import Whole
from proxy import tokens
from proxy.call import Call, Usage
from proxy.errors import Fault, RequestError, UpstreamError
from proxy.media.audio_formats import FORMATS
from proxy.stream import CONTENT_TYPE, frame
from proxy.wire.speech import SpeechRequest

PIECE: Final = 65536  # bytes of sound in an event


async def sounded(call: Call, sound: bytes, upstream: str, *, bare: bool = False) -> Whole:
    """`bare`: samples without a header, of our own rate. Raises UpstreamError for what is no sound."""
    request: SpeechRequest = call.request
    usage = Usage(characters=len(request.input))
    type_ = FORMATS["pcm"].content_type if bare else sniff(sound[:64]) or ""
    if not type_.startswith("audio/"):
        said = f"The upstream {upstream!r} gave an output that holds no sound."
        raise UpstreamError(Fault.MALFORMED, said, accepted=True)
    wanted = request.response_format
    if wanted is not None and not (type_ == FORMATS[wanted].content_type and (bare or wanted != "pcm")):
        sound, type_ = await _recoded(sound, wanted, upstream), FORMATS[wanted].content_type
    if not request.events:
        return Whole(sound, usage, type_)
    count, _ = await tokens.count([request.input])
    pieces = [sound[at : at + PIECE] for at in range(0, len(sound), PIECE)]
    told = [{"type": "speech.audio.delta", "audio": base64.b64encode(piece).decode("ascii")} for piece in pieces]
    counts = {"input_tokens": count, "output_tokens": 0, "total_tokens": count}
    done = frame({"type": "speech.audio.done", "usage": counts})
    return Whole(b"".join(map(frame, told)) + done, usage, CONTENT_TYPE)


async def _recoded(sound: bytes, format: str, upstream: str) -> bytes:
    from proxy.media import audio

    try:
        return await audio.transcoded(sound, format)
    except RequestError as error:
        said = f"The upstream {upstream!r} gave a sound that cannot be read: {error.message}."
        raise UpstreamError(Fault.MALFORMED, said, accepted=True) from None
