"""A form goes out as it came, and its answer comes back in the shape that was asked for."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from adapters.openai_api.adapter import OpenAI, build
from adapters.options import OpenAIOptions
from fakes.doubles import faults, media
from fakes.doubles.clockwork import Pace
from fakes.doubles.openai_media import OpenAIMedia
from proxy.call import ANYBODY, Call, Dialect, Operation, Plan, Target
from proxy.catalogue import Model
from proxy.errors import Fault, UpstreamError
from proxy.features import NONE
from proxy.media.payload import Payload
from proxy.ports import Reply
from proxy.wire.transcriptions import fields_of, recording_of, request_of

SOUND = media.wav(1.5)


@pytest_asyncio.fixture
async def double() -> AsyncIterator[OpenAIMedia]:
    async with OpenAIMedia(pace=Pace.quick()) as running:
        yield running


@pytest_asyncio.fixture
async def adapter(double: OpenAIMedia) -> AsyncIterator[OpenAI]:
    options = OpenAIOptions(base_url=double.base_url, api_key=double.key, drops=frozenset({"user"}))
    made = build("up", options)
    yield made
    await made.aclose()


async def heard(adapter: OpenAI, model: str, *pairs: tuple[str, str], name: str = "a.wav") -> Reply:
    form = [("model", "ours"), *pairs]
    request = request_of(form)
    target = Target("up", model)
    file = Payload(SOUND, field="file", filename=name, declared="audio/x-wav")
    call = Call(
        id="req_1",
        operation=Operation.TRANSCRIPTION,
        dialect=Dialect.OPENAI,
        request=request,
        raw=b"",
        fields=fields_of(form),
        principal=ANYBODY,
        stream=bool(request.stream),
        upload=recording_of(form, {"file": [file]}),
    )
    call.plan = Plan(Model(id="ours", type="asr", name="ours", targets=(target,)), (target,), "ours", "id", NONE)
    return await adapter.open(call, target)


async def all_of(reply: Reply) -> bytes:
    out = b""
    while reply.ending is None:
        out += await reply.next()
    reply.close()
    return out


def events(body: bytes) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in body.decode().splitlines() if line.startswith("data: ")]


@pytest.mark.asyncio
async def test_the_form_goes_out_as_it_came(double: OpenAIMedia, adapter: OpenAI) -> None:
    words = [("timestamp_granularities[]", "word"), ("timestamp_granularities[]", "segment")]
    pairs = [("response_format", "verbose_json"), *words, ("language", "it"), ("user", "me")]
    reply = await heard(adapter, "ears-old", *pairs, name="ü 1.wav")
    told = json.loads(await all_of(reply))
    assert told["duration"] == pytest.approx(1.5)
    assert told["text"] == "silence for 1.5 seconds"
    assert [word["word"] for word in told["words"]] == told["text"].split()
    assert len(told["segments"]) == 1
    file, *texts = double.fields[0]
    assert (file.name, file.value, file.filename, file.content_type) == ("file", SOUND, "ü 1.wav", "audio/x-wav")
    assert [(f.name, f.value.decode()) for f in texts] == [("model", "ears-old"), *pairs[:-1]]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("form", "type_", "start"),
    [
        ("text", "text/plain", b"silence for"),
        ("srt", "text/plain", b"1\n00:00:00,000 -->"),
        ("vtt", "text/plain", b"WEBVTT\n\n"),
        ("json", "application/json", b'{"text":"silence'),
    ],
)
async def test_formats(adapter: OpenAI, form: str, type_: str, start: bytes) -> None:
    reply = await heard(adapter, "ears-old", ("response_format", form))
    assert reply.content_type.startswith(type_)
    assert (await all_of(reply)).startswith(start)


@pytest.mark.asyncio
async def test_usage_is_booked_where_it_is_in_tokens(adapter: OpenAI) -> None:
    """Whole and streamed."""
    for pairs in ([], [("stream", "true")]):
        reply = await heard(adapter, "ears-new", *pairs)
        await all_of(reply)
        assert reply.usage is not None
        assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (14, 5)
    for form in ("verbose_json", "srt"):  # billed by the second: nobody here counts them
        assert (await heard(adapter, "ears-old", ("response_format", form))).usage is None


@pytest.mark.asyncio
@pytest.mark.parametrize("model", ["ears-new", "ears-old"])
async def test_a_stream_is_a_stream_also_where_it_is_ignored(double: OpenAIMedia, adapter: OpenAI, model: str) -> None:
    double.say = ["già pagato 🛶"]
    reply = await heard(adapter, model, ("stream", "true"))
    assert reply.content_type.startswith("text/event-stream")
    told = events(await all_of(reply))
    assert "".join(event["delta"] for event in told[:-1]) == told[-1]["text"] == "già pagato 🛶"
    assert {event["type"] for event in told[:-1]} == {"transcript.text.delta"}
    assert told[-1]["type"] == "transcript.text.done"


@pytest.mark.asyncio
async def test_a_stream_that_is_cut_is_no_end(double: OpenAIMedia, adapter: OpenAI) -> None:
    double.script(faults.cut(80))
    with pytest.raises(UpstreamError) as caught:
        await all_of(await heard(adapter, "ears-new", ("stream", "true")))
    assert caught.value.fault is Fault.CUT


@pytest.mark.asyncio
async def test_refusals_are_the_upstream_s_words(adapter: OpenAI) -> None:
    for model, pairs, words in (
        ("ears-new", [("response_format", "srt")], "srt"),
        ("ears-old", [("odd", "1")], "odd"),
    ):
        with pytest.raises(UpstreamError, match=words) as caught:
            await heard(adapter, model, *pairs)
        assert (caught.value.fault, caught.value.accepted) == (Fault.REFUSED, False)
    with pytest.raises(UpstreamError, match="file format"):
        await heard(adapter, "ears-old", name="a.txt")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("value", "type_", "form"),
    [
        (b"<html></html>", "text/html", "srt"),
        (b"<html></html>", "text/html", "json"),
        (b'{"words": []}', "application/json", "json"),
        (b'{"text": 7}', "application/json", "verbose_json"),
    ],
)
async def test_what_is_no_transcript(double: OpenAIMedia, adapter: OpenAI, value: bytes, type_: str, form: str) -> None:
    double.script(faults.answer(200, value, {"content-type": type_}))
    with pytest.raises(UpstreamError) as caught:
        await heard(adapter, "ears-old", ("response_format", form))
    assert caught.value.fault is Fault.MALFORMED


@pytest.mark.asyncio
async def test_json_where_words_were_asked_for(double: OpenAIMedia, adapter: OpenAI) -> None:
    double.script(faults.answer(200, b'{"text": "good day"}'))
    assert await all_of(await heard(adapter, "ears-old", ("response_format", "text"))) == b"good day"
