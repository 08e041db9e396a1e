"""Speech through the route: what a decoder hears of it, and that it is sent while it is made."""

import asyncio
import http.client
import json
import math
import struct
from collections.abc import Iterator

import httpx
import pytest

from adapters.offline.speech import Speech
from adapters.offline.voices import Voice
from fakes.decoded_audio import Heard, hear
from fakes.gateway import Gateway, gateway
from proxy.media.audio_formats import FORMATS

TEXT = "The ferry crosses the canal, and nobody waits for long. Two oars are enough, one at each end of the boat."
VOICES = ("af_sky", "bm_george", "if_sara")
SENTENCES = [f"Sentence number {n} is about the lagoon." for n in range(20)]


@pytest.fixture(scope="module")
def home() -> Iterator[Gateway]:
    with gateway('[upstreams.here]\nkind = "offline"\n') as running:
        yield running


def spoken(home: Gateway, format: str, voice: str, **more: object) -> Heard:
    body = {"model": "here/tts-kokoro", "input": TEXT, "voice": voice, "response_format": format, **more}
    sound = httpx.post(home.v1 + "/audio/speech", json=body, timeout=60)
    assert sound.status_code == 200, sound.text
    assert sound.headers["content-type"] == FORMATS[format].content_type
    return hear(sound.content, format)


@pytest.mark.parametrize("voice", VOICES)
def test_six_formats_of_a_voice(home: Gateway, voice: str) -> None:
    """Each as long as the bare samples are, at its sample rate, and to be heard; twice the speed takes half the time."""
    bare = spoken(home, "pcm", voice)
    assert 4 < bare.seconds < 12
    for format in FORMATS:
        heard = spoken(home, format, voice)
        assert heard.seconds == pytest.approx(bare.seconds, rel=0.05)
        assert heard.rate == (48_000 if format == "opus" else 24_000)  # Opus is always decoded at 48 kHz
        assert heard.channels == 1
        assert heard.rms == pytest.approx(bare.rms, rel=0.25)
        assert bare.rms > 0.01
        fast = spoken(home, format, voice, speed=2)
        assert fast.seconds == pytest.approx(heard.seconds / 2, rel=0.05)
        assert fast.rms > 0.01


class Patient:
    """A voice that speaks a second of tone a sentence, and the second one only when it is told to go on."""

    rate = 22_050
    paces = (1.0, 1.0)

    def __init__(self) -> None:
        self.said: list[str] = []
        self.go_on = asyncio.Event()

    async def warm(self) -> None:
        return None

    async def sentence(self, text: str, voice: Voice, pace: float) -> bytes:
        if len(self.said) == 1:
            await self.go_on.wait()
        self.said.append(text)
        wave = (round(9_000 * math.sin(t * 0.06)) for t in range(self.rate))
        return struct.pack(f"<{self.rate}h", *wave)

    async def aclose(self) -> None:
        return None


@pytest.mark.parametrize("events", [False, True], ids=["bytes", "events"])
@pytest.mark.parametrize("format", FORMATS)
def test_the_first_audio_is_there_before_the_second_sentence_is_spoken(format: str, events: bool) -> None:
    """By order, not by the clock: the second of twenty sentences is not spoken until the first was received."""
    with gateway('[upstreams.here]\nkind = "offline"\n') as home:
        patient = Patient()
        home.house().adapters["here"]._speech = Speech(box=patient)  # type: ignore[attr-defined]
        body = {"model": "here/tts", "input": " ".join(SENTENCES), "response_format": format}
        body |= {"stream_format": "sse"} if events else {"streaming": True}
        connection = http.client.HTTPConnection("127.0.0.1", home.port, timeout=20)
        connection.request("POST", "/v1/audio/speech", json.dumps(body), {"content-type": "application/json"})
        answer = connection.getresponse()
        first = answer.read1(1 << 16)
        assert len(first) > 100
        assert patient.said == SENTENCES[:1]
        home.loop.call_soon_threadsafe(patient.go_on.set)
        rest = answer.read()
        connection.close()
        assert patient.said == SENTENCES
        if not events:
            assert hear(first + rest, format).seconds == pytest.approx(
                26, rel=0.05
            )  # with a pause behind each sentence
