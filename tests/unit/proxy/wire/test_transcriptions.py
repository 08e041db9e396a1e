"""A form's texts become the head; what may not be is refused by name; a whole answer as events."""

import pytest

from proxy.errors import BadRequest
from proxy.media.payload import Payload
from proxy.wire.transcriptions import fields_of, recording_of, request_of, spoken, venice_only

WORDS = [("timestamp_granularities[]", "word"), ("timestamp_granularities[]", "segment")]


def test_the_head() -> None:
    request = request_of([("model", "m"), ("temperature", "0.5"), ("stream", "true"), ("language", ""), *WORDS])
    assert (request.model, request.temperature, request.stream, request.language) == ("m", 0.5, True, None)
    assert request.timestamp_granularities == ["word", "segment"]
    assert not request.as_text
    assert request_of([("model", "m"), ("response_format", "srt")]).as_text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("model", ""),
        ("temperature", "2"),
        ("temperature", "warm"),
        ("response_format", "xml"),
        ("stream", "maybe"),
        ("timestamp_granularities[]", "letter"),
    ],
)
def test_refusals_name_the_field(name: str, text: str) -> None:
    with pytest.raises(BadRequest) as caught:
        request_of([("model", "m"), (name, text)] if name != "model" else [(name, text)])
    assert (caught.value.param or "").startswith(name.removesuffix("[]"))
    with pytest.raises(BadRequest, match="model"):
        request_of([])


def test_the_recording() -> None:
    pairs = [("model", "m"), *WORDS, ("prompt", "")]
    file = Payload(b"sound", field="file", filename="a.mp3")
    recording = recording_of(pairs, {"file": [file]})
    assert recording.file is file
    assert recording.texts == [*WORDS, ("prompt", "")]
    assert set(fields_of(pairs)) == {"model", "timestamp_granularities", "prompt"}
    for files in ({}, {"file": []}, {"file": [file, file]}, {"file": [Payload(b"", field="file")]}):
        with pytest.raises(BadRequest, match="'file'"):
            recording_of(pairs, files)


def test_venice_refuses_what_nobody_has() -> None:
    venice_only({"model", "file", "language", "timestamp_granularities", "user"})
    with pytest.raises(BadRequest, match="'vat_number'"):
        venice_only({"model", "vat_number"})


def test_a_whole_answer_as_events() -> None:
    assert [event["type"] for event in spoken({"text": ""})] == ["transcript.text.done"]
    first, last = spoken({"text": "good day", "usage": {"type": "duration", "seconds": 2}})
    assert first == {"type": "transcript.text.delta", "delta": "good day"}
    assert (last["text"], last["usage"]["seconds"]) == ("good day", 2)
