"""Speech by Venice."""

import base64
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from adapters.options import VeniceOptions
from adapters.venice.adapter import Venice, build
from fakes.calls import drained, speech_call
from fakes.doubles import faults
from fakes.doubles.clockwork import Pace
from fakes.doubles.venice import VeniceDouble
from proxy.call import Ending, Target
from proxy.errors import Fault, UpstreamError

pytestmark = pytest.mark.asyncio
SPEAKS = Target("up", "tts-kokoro")
TEXT = "One sentence. Another sentence. The third one."


@pytest_asyncio.fixture(loop_scope="function")
async def double() -> AsyncIterator[VeniceDouble]:
    async with VeniceDouble(pace=Pace(first=0.01, token=0.05)) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="function")
async def venice(double: VeniceDouble) -> AsyncIterator[Venice]:
    made = build("up", VeniceOptions(base_url=double.base_url, api_key=double.key))
    yield made
    await made.aclose()


async def test_speech_and_the_voices_that_openai_names(double: VeniceDouble, venice: Venice) -> None:
    call = speech_call(SPEAKS, voice="alloy", response_format="wav", speed=1.5, user="x")
    reply = await venice.open(call, SPEAKS)
    assert reply.content_type == "audio/wav"
    assert (await drained(reply)).startswith(b"RIFF")
    assert reply.usage.characters == 5
    assert reply.ending is Ending.FINISHED
    wanted = {"model": "tts-kokoro", "input": "Ciao.", "voice": "af_alloy", "response_format": "wav", "speed": 1.5}
    assert double.seen("POST")[0].json == wanted
    assert call.dropped == ["user"]


async def test_sentences_come_one_by_one(double: VeniceDouble, venice: Venice) -> None:
    reply = await venice.open(speech_call(SPEAKS, input=TEXT, streaming=True), SPEAKS)
    assert reply.ending is None
    pieces = [await reply.next()]
    while piece := await reply.next():
        pieces.append(piece)
    assert len(pieces) >= 3


async def test_events_around_the_sound(double: VeniceDouble, venice: Venice) -> None:
    reply = await venice.open(speech_call(SPEAKS, input=TEXT, stream_format="sse", response_format="pcm"), SPEAKS)
    assert reply.content_type.startswith("text/event-stream")
    events = [json.loads(block[6:]) for block in (await drained(reply)).split(b"\n\n") if block]
    assert {event["type"] for event in events[:-1]} == {"speech.audio.delta"}
    assert len(b"".join(base64.b64decode(event["audio"]) for event in events[:-1])) > 1000
    assert events[-1]["type"] == "speech.audio.done"
    assert events[-1]["usage"]["input_tokens"] > 0


async def test_an_error_with_status_200_and_a_cut(double: VeniceDouble, venice: Venice) -> None:
    double.script(faults.answer(200, {"error": "Inference processing failed"}))
    with pytest.raises(UpstreamError):
        await venice.open(speech_call(SPEAKS), SPEAKS)
    double.script(faults.cut(300))
    reply = await venice.open(speech_call(SPEAKS, input=TEXT, streaming=True), SPEAKS)
    with pytest.raises(UpstreamError) as caught:
        await drained(reply)
    assert caught.value.fault is Fault.CUT
    reply.close()
