"""Heads of speech calls: limits, voices by name or object, Venice's narrower keys."""

from typing import Any

import pytest

from adapters.offline.voices import NAMES
from proxy.errors import BadRequest
from proxy.wire.body import encode, fields_of, head_of
from proxy.wire.speech import VOICES, SpeechRequest, venice_only


def request(**fields: Any) -> SpeechRequest:
    return head_of(encode({"input": "x", **fields}), SpeechRequest)


def test_the_voices_are_those_that_speak_offline() -> None:
    assert len(VOICES) == 54
    assert VOICES == NAMES


def test_a_voice_by_name_or_object() -> None:
    assert request().voice_name("af_sky") == "af_sky"
    assert request(voice="nova").voice_name("af_sky") == "nova"
    assert request(voice={"id": "mine"}).voice_name("af_sky") == "mine"
    with pytest.raises(BadRequest) as caught:
        request(voice={"name": "mine"}).voice_name("af_sky")
    assert caught.value.param == "voice.id"


@pytest.mark.parametrize("speed", [0.25, 1, 4])
def test_speeds(speed: float) -> None:
    assert request(speed=speed).speed == speed


@pytest.mark.parametrize(
    "fields", [{"speed": 0.24}, {"speed": 4.01}, {"input": ""}, {"input": "x" * 4097}, {"response_format": "ogg"}]
)
def test_limits(fields: dict[str, Any]) -> None:
    with pytest.raises(BadRequest) as caught:
        request(**fields)
    assert caught.value.param == next(iter(fields))


def test_venice_takes_its_own_keys() -> None:
    venice_only(fields_of(b'{"input": "x", "streaming": true, "user": "me"}'))
    with pytest.raises(BadRequest, match="'stream_format'"):
        venice_only(fields_of(b'{"input": "x", "stream_format": "sse"}'))
