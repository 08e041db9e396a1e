"""Speech by Novita."""

import pytest

from fakes.calls import drained, speech_call
from fakes.doubles import faults
from fakes.novitas import novita
from proxy.call import Target
from proxy.errors import BadRequest, NotSupported, UpstreamError

pytestmark = pytest.mark.asyncio
MINIMAX, GLM = Target("up", "minimax-speech-02-hd"), Target("up", "glm-tts")


@pytest.mark.parametrize("target", [MINIMAX, GLM], ids=["minimax", "glm"])
@pytest.mark.parametrize(("format", "type_"), [("mp3", "mpeg"), ("wav", "wav"), ("pcm", "pcm"), ("opus", "opus")])
async def test_every_format(target: Target, format: str, type_: str) -> None:
    async with novita() as (_, upstream):
        call = speech_call(target, voice="Wise_Woman", response_format=format, speed=1.5, input="Ciao a tutti.")
        reply = await upstream.open(call, target)
        assert reply.content_type == f"audio/{type_}"
        assert len(await drained(reply)) > 100
        assert reply.usage.characters == 13


async def test_the_voice_is_the_callers_the_models_or_missing() -> None:
    async with novita() as (double, upstream):
        await upstream.open(speech_call(MINIMAX, model={"voices": ("Calm_Man",)}), MINIMAX)
        assert double.seen("POST")[0].json["voice_setting"] == {"voice_id": "Calm_Man"}
        with pytest.raises(BadRequest) as caught:
            await upstream.open(speech_call(MINIMAX), MINIMAX)
        assert caught.value.param == "voice"


async def test_what_cannot_be() -> None:
    async with novita() as (double, upstream):
        with pytest.raises(BadRequest) as caught:
            await upstream.open(speech_call(GLM, speed=3), GLM)
        assert caught.value.param == "speed"
        mute = Target("up", "mute")
        with pytest.raises(NotSupported):
            await upstream.open(speech_call(mute), mute)
        double.script(faults.answer(200, {"audio": "xyz"}), faults.answer(200, {"message": "no"}))
        for target in (MINIMAX, GLM):
            with pytest.raises(UpstreamError):
                await upstream.open(speech_call(target, voice="v"), target)


async def test_events() -> None:
    async with novita() as (_, upstream):
        told = await drained(await upstream.open(speech_call(GLM, stream_format="sse"), GLM))
        assert told.count(b"speech.audio.delta") == told.count(b"speech.audio.done") == 1
