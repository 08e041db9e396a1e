"""Speech by prediction: the voice and speed that a model has, in the format that was asked for."""

import io
import wave
from typing import Any

import pytest

from fakes.calls import drained
from fakes.doubles import media
from fakes.orders import speech_call
from fakes.predictions import predicting
from proxy.call import Target
from proxy.errors import BadRequest, Fault, NotSupported, UnsupportedParameter, UpstreamError
from proxy.stream import events

pytestmark = pytest.mark.asyncio


def speaking(double: Any, key: str = "acme/speech") -> Target:
    return Target("up", f"{key}:{double.models[key].version}")


async def test_what_the_model_gives_where_nobody_says_otherwise() -> None:
    async with predicting() as (double, upstream):
        target = speaking(double)
        reply = await upstream.open(speech_call(target, voice="af_sky", speed=2), target)
        sound = await drained(reply)
        (made,) = double.jobs.values()
        assert made.given == {"text": "Ciao, Venezia.", "voice": "af_sky", "speed": 2}
        assert (reply.content_type, sound) == ("audio/wav", made.plan.growth[0])
        assert reply.usage.characters == len("Ciao, Venezia.")


@pytest.mark.parametrize(
    ("format", "type_"), [("wav", "audio/wav"), ("mp3", "audio/mpeg"), ("opus", "audio/opus"), ("pcm", "audio/pcm")]
)
async def test_another_format_is_made_of_it(format: str, type_: str) -> None:
    async with predicting() as (double, upstream):
        target = speaking(double)
        reply = await upstream.open(speech_call(target, response_format=format), target)
        sound = await drained(reply)
        assert reply.content_type == type_
        if format == "pcm":
            with wave.open(io.BytesIO(next(iter(double.jobs.values())).plan.growth[0])) as file:
                seconds = file.getnframes() / file.getframerate()
            assert len(sound) == pytest.approx(seconds * 48_000, abs=2400)


async def test_events() -> None:
    async with predicting() as (double, upstream):
        target = speaking(double)
        reply = await upstream.open(speech_call(target, stream_format="sse"), target)
        frames = events(await drained(reply))
        assert reply.content_type.startswith("text/event-stream")
        assert b"speech.audio.delta" in (frames[0].data or b"")
        assert b"speech.audio.done" in (frames[-1].data or b"")


@pytest.mark.parametrize(
    ("body", "param", "error"),
    [
        ({"voice": "alloy"}, "voice", BadRequest),
        ({"speed": 4}, "speed", BadRequest),
    ],
)
async def test_what_the_model_does_not_have(body: dict[str, Any], param: str, error: type[Exception]) -> None:
    async with predicting() as (double, upstream):
        target = speaking(double)
        with pytest.raises(error) as caught:
            await upstream.open(speech_call(target, **body), target)
        assert caught.value.param == param  # type: ignore[attr-defined]
        assert double.created == 0


async def test_a_model_of_one_voice_and_one_that_does_not_speak() -> None:
    async with predicting() as (double, upstream):
        target = speaking(double, "vaikerai/hello-world")
        for body in ({"voice": "af_sky"}, {"speed": 2}):
            with pytest.raises(UnsupportedParameter):
                await upstream.open(speech_call(target, **body), target)
        with pytest.raises(UpstreamError, match="holds no sound") as caught:
            await upstream.open(speech_call(target), target)
        assert caught.value.fault is Fault.MALFORMED
        mute = speaking(double, "nightmareai/real-esrgan")
        with pytest.raises(NotSupported):
            await upstream.open(speech_call(mute), mute)


async def test_a_damaged_sound_is_the_upstreams_fault() -> None:
    async with predicting() as (double, upstream):
        target = speaking(double)
        double.will(files=[media.wav(1.0)[:20]], mime="audio/wav")
        with pytest.raises(UpstreamError, match="cannot be read") as caught:
            await upstream.open(speech_call(target, response_format="mp3"), target)
        assert caught.value.fault is Fault.MALFORMED


async def test_a_hint_that_it_cannot_take_is_named() -> None:
    async with predicting() as (double, upstream):
        target = speaking(double)
        call = speech_call(target, nonsense=1)
        await upstream.open(call, target)
        assert call.dropped == ["nonsense"]
