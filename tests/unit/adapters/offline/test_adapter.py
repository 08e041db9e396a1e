"""Calls as the route makes them, answered by the parts: whole and streamed, refusals by name, nothing started before."""

from typing import Any

import pytest

from adapters.offline.adapter import build
from adapters.options import OfflineOptions
from fakes.decoded_audio import hear
from proxy.call import ANYBODY, Call, Dialect, Ending, Operation, Target
from proxy.errors import BadRequest
from proxy.wire.body import encode, fields_of, head_of
from proxy.wire.speech import SpeechRequest

TARGET = Target("offline", "tts-kokoro")


def spoken(**body: Any) -> Call:
    raw = encode(body)
    return Call(
        id="req_1",
        operation=Operation.SPEECH,
        dialect=Dialect.OPENAI,
        request=head_of(raw, SpeechRequest),
        raw=raw,
        fields=fields_of(raw),
        principal=ANYBODY,
        stream=bool(body.get("streaming")),
    )


@pytest.mark.asyncio
async def test_speech_whole_and_streamed() -> None:
    adapter = build("offline", OfflineOptions())
    try:
        reply = await adapter.open(spoken(input="Good evening to you.", response_format="wav", extra=1), TARGET)
        whole = await reply.next()
        assert (reply.ending, reply.content_type) == (Ending.FINISHED, "audio/wav")
        assert reply.usage is not None
        assert reply.usage.characters == 20
        reply = await adapter.open(spoken(input="Good evening to you.", response_format="wav", streaming=True), TARGET)
        parts = []
        while reply.ending is None:
            parts.append(await reply.next())
        reply.close()
        assert len(parts) > 1
        assert len(b"".join(parts)) == len(whole)
        assert hear(whole).seconds > 0.8
    finally:
        await adapter.aclose()


@pytest.mark.asyncio
async def test_refused_before_anything_is_started() -> None:
    adapter = build("offline", OfflineOptions())
    with pytest.raises(BadRequest, match="voice"):
        await adapter.open(spoken(input="x", voice="nobody"), TARGET)
    assert adapter.speech.box.starts == 0  # type: ignore[attr-defined]
    await adapter.aclose()
