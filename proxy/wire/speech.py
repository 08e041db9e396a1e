"""POST audio/speech: what may be asked, in Venice's and OpenAI's words together.

It knows formats by name and no codec. Which voices there are is the serving upstream's to say; VOICES are those of Venice's
schema, for model cards.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw

from proxy.wire.body import NO_OPS, unknown_keys
from proxy.wire.chat import refused

MODEL = "tts-kokoro"
_VOICES = """
    af_alloy af_aoede af_bella af_heart af_jadzia af_jessica af_kore af_nicole af_nova af_river af_sarah af_sky
    am_adam am_echo am_eric am_fenrir am_liam am_michael am_onyx am_puck am_santa
    bf_alice bf_emma bf_lily bm_daniel bm_fable bm_george bm_lewis
    zf_xiaobei zf_xiaoni zf_xiaoxiao zf_xiaoyi zm_yunjian zm_yunxi zm_yunxia zm_yunyang
    ff_siwis hf_alpha hf_beta hm_omega hm_psi if_sara im_nicola
    jf_alpha jf_gongitsune jf_nezumi jf_tebukuro jm_kumo
    pf_dora pm_alex pm_santa ef_dora em_alex em_santa
"""
VOICES: tuple[str, ...] = tuple(_VOICES.split())
VENICE = NO_OPS | {"model", "input", "voice", "response_format", "speed", "streaming"}


class SpeechRequest(msgspec.Struct):
    """The typed head. `model` is set by the route where none was named; `voice` may be OpenAI's object with an id."""

    input: Annotated[str, Meta(min_length=1, max_length=4096)]
    model: Annotated[str, Meta(max_length=512)] | None = None
    voice: Annotated[str, Meta(max_length=512)] | dict[str, Any] | None = None
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] | None = None
    speed: Annotated[float, Meta(ge=0.25, le=4)] | None = None
    streaming: bool | None = None
    stream_format: Literal["audio", "sse"] | None = None
    instructions: str | None = None

    @property
    def events(self) -> bool:
        """Whether the audio is to come in server-sent events."""
        return self.stream_format == "sse"

    def voice_name(self, default: str) -> str:
        """Raises BadRequest where the object has no id."""
        if isinstance(self.voice, dict):
            if not isinstance(self.voice.get("id"), str):
                raise refused("voice.id", "Required")
            return str(self.voice["id"])
        return default if self.voice is None else self.voice


def venice_only(fields: dict[str, Raw]) -> None:
    """What Venice's schema refuses and OpenAI's takes. Raises BadRequest naming the field."""
    if unknown := [key for key in fields if key not in VENICE]:
        raise unknown_keys(unknown)
