"""A file of sound in the format that was ordered."""

import base64
import json

import pytest

from adapters.sounding import sounded
from fakes.calls import drained, speech_call
from fakes.doubles import media
from proxy.call import Target
from proxy.errors import UpstreamError

pytestmark = pytest.mark.asyncio
HERE = Target("up", "x")


async def test_what_nobody_asked_for_stays_as_it_came() -> None:
    wav = media.wav(0.2)
    reply = await sounded(speech_call(HERE), wav, "up")
    assert (await drained(reply), reply.content_type) == (wav, "audio/wav")
    assert await drained(await sounded(speech_call(HERE, response_format="wav"), wav, "up")) == wav


@pytest.mark.parametrize(
    ("format", "start"), [("mp3", b""), ("flac", b"fLaC"), ("opus", b"OggS"), ("pcm", b"\0\0"), ("aac", b"\xff")]
)
async def test_what_was_asked_for_is_made(format: str, start: bytes) -> None:
    reply = await sounded(speech_call(HERE, response_format=format), media.wav(0.5), "up")
    assert (await drained(reply)).startswith(start)
    assert reply.content_type == {"mp3": "audio/mpeg"}.get(format, f"audio/{format}")


async def test_bare_samples() -> None:
    samples = media.pcm(0.2)
    reply = await sounded(speech_call(HERE, response_format="pcm"), samples, "up", bare=True)
    assert (await drained(reply), reply.content_type) == (samples, "audio/pcm")


async def test_events_in_pieces() -> None:
    wav = media.wav(3.0)
    reply = await sounded(speech_call(HERE, stream_format="sse"), wav, "up")
    events = [json.loads(block[6:]) for block in (await drained(reply)).split(b"\n\n") if block]
    assert b"".join(base64.b64decode(event["audio"]) for event in events[:-1]) == wav
    assert len(events) == 4
    assert events[-1]["type"] == "speech.audio.done"


@pytest.mark.parametrize("sound", [b"", b"<html>", media.png(8, 8)])
async def test_what_is_no_sound(sound: bytes) -> None:
    with pytest.raises(UpstreamError, match="no sound"):
        await sounded(speech_call(HERE), sound, "up")


async def test_a_sound_that_cannot_be_read() -> None:
    with pytest.raises(UpstreamError, match="cannot be read"):
        await sounded(speech_call(HERE, response_format="flac"), b"OggS" + bytes(99), "up")
