"""Speech without a key: text to sentences, sentences to PCM, PCM to the format that was asked for.

It owns the order of these steps and knows neither processes (`espeak`) nor codecs (`proxy.media.audio`). Invariants:
what the caller can mend is refused before anything is synthesised; the next sentence is synthesised only when somebody
has taken the one before; leaving the stream stops it at once.
"""

from collections.abc import AsyncIterator
from typing import Final, Protocol

import msgspec

from adapters.offline.espeak import Espeak
from adapters.offline.sentences import split
from adapters.offline.voices import DEFAULT, Voice, voice
from proxy.errors import BadRequest
from proxy.media.audio_formats import FORMATS

SLOWEST, FASTEST = 0.25, 4.0
_PAUSE_S: Final = 0.3  # behind a sentence; a piece of one gets a third
_ENDINGS: Final = tuple(".!?…।॥؟۔。！？｡\"'”’»)")
_FIRST_S, _MOST_S = 0.2, 4.0  # what is encoded at once: little at first, for an early first byte


class Voicebox(Protocol):
    """A synthesiser: one sentence to PCM s16 mono at `rate`, at a pace within `paces`."""

    rate: int

    @property
    def paces(self) -> tuple[float, float]: ...

    async def warm(self) -> None: ...

    async def sentence(self, text: str, voice: Voice, pace: float) -> bytes: ...

    async def aclose(self) -> None: ...


class Reading(msgspec.Struct, frozen=True):
    """A checked wish to hear a text. `streaming` sends sentence by sentence, else one whole file with exact lengths."""

    text: str
    voice: Voice
    format: str = "mp3"
    speed: float = 1.0
    streaming: bool = False

    @property
    def content_type(self) -> str:
        return FORMATS[self.format].content_type


def reading(
    text: str, *, voice_name: str = DEFAULT, format: str = "mp3", speed: float = 1.0, streaming: bool = False
) -> Reading:
    """BadRequest naming the field (`voice`, `response_format`, `speed`, `input`) that cannot be."""
    if format not in FORMATS:
        names = ", ".join(FORMATS)
        raise BadRequest(f"response_format: expected one of {names}, got {format[:32]!r}.", param="response_format")
    if not SLOWEST <= speed <= FASTEST:
        raise BadRequest(f"speed: expected {SLOWEST} to {FASTEST}, got {speed}.", param="speed")
    if not text.strip():
        raise BadRequest("input: expected text to speak, got nothing but blanks.", param="input")
    return Reading(text, voice(voice_name), format, speed, streaming)


class Speech:
    """Reads aloud with one synthesiser: espeak-ng, or Kokoro where `model_path` is given."""

    def __init__(self, model_path: str | None = None, *, box: Voicebox | None = None) -> None:
        if box is None and model_path:
            from adapters.offline.kokoro import Kokoro

            box = Kokoro(model_path)
        self.box: Voicebox = box or Espeak()

    async def warm(self) -> None:
        """Pay for the start now. UpstreamError where there is no synthesiser."""
        await self.box.warm()

    async def speak(self, wish: Reading) -> AsyncIterator[bytes]:
        """Audio as it is made. UpstreamError where the synthesiser fails; leaving the iterator stops it."""
        from proxy.media import audio

        low, high = self.box.paces
        pace = max(low, min(high, wish.speed))
        await self.box.warm()  # its rate is known only now
        pcm = self._pcm(wish, pace)
        tempo = wish.speed / pace
        stream = audio.encode(pcm, wish.format, self.box.rate, tempo=tempo, streaming=wish.streaming)
        try:
            async for data in stream:
                yield data
        finally:
            await stream.aclose()  # type: ignore[attr-defined]
            await pcm.aclose()  # type: ignore[attr-defined]

    async def _pcm(self, wish: Reading, pace: float) -> AsyncIterator[bytes]:
        seconds = _FIRST_S
        for sentence in split(wish.text):
            pcm = await self.box.sentence(sentence, wish.voice, pace)
            pause = _PAUSE_S if sentence.endswith(_ENDINGS) else _PAUSE_S / 3
            pcm += bytes(2 * int(pause / pace * self.box.rate))
            while pcm:
                size = 2 * int(seconds * self.box.rate)
                yield pcm[:size]
                pcm = pcm[size:]
                seconds = min(_MOST_S, 2 * seconds)

    async def aclose(self) -> None:
        await self.box.aclose()
