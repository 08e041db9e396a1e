"""POST audio/transcriptions: a recording, and in which words it is to be written down.

It knows formats by name and hears nothing. Invariant: what an upstream gets is the form that the caller sent, under its own
names and in its own order; only the model's name is another.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw

from proxy.media.payload import Payload
from proxy.wire.body import NO_OPS, encode, explained, unknown_keys
from proxy.wire.chat import refused

TEXTS = frozenset({"text", "srt", "vtt"})  # formats that are answered as they are, not as JSON
_LISTS = frozenset({"timestamp_granularities", "include", "known_speaker_names", "known_speaker_references"})
VENICE = NO_OPS | {"model", "file", "language", "prompt", "response_format", "temperature", "stream", *_LISTS}


class TranscriptionRequest(msgspec.Struct):
    """The typed head; what else a form has goes out as it came."""

    model: Annotated[str, Meta(min_length=1, max_length=512)]
    language: Annotated[str, Meta(max_length=64)] | None = None
    prompt: str | None = None
    response_format: Literal["json", "text", "srt", "verbose_json", "vtt", "diarized_json"] | None = None
    temperature: Annotated[float, Meta(ge=0, le=1)] | None = None
    timestamp_granularities: list[Literal["word", "segment"]] = []
    stream: bool | None = None

    @property
    def as_text(self) -> bool:
        return self.response_format in TEXTS


class Recording(msgspec.Struct):
    """What came with the call: the file, and the form's texts in their order (the model's name left out)."""

    file: Payload
    texts: list[tuple[str, str]]


def plain(name: str) -> str:
    """A field's name without the brackets of a repeated one."""
    return name.removesuffix("[]")


def request_of(pairs: list[tuple[str, str]]) -> TranscriptionRequest:
    """A form's texts → the head. Raises BadRequest naming the field."""
    given: dict[str, Any] = {}
    for name, text in pairs:
        if plain(name) in _LISTS:
            given.setdefault(plain(name), []).append(text)
        elif text != "" or name == "model":
            given[name] = text
    try:
        return msgspec.convert(given, TranscriptionRequest, strict=False)
    except msgspec.ValidationError as error:
        raise explained(str(error)) from None


def recording_of(pairs: list[tuple[str, str]], files: dict[str, list[Payload]]) -> Recording:
    """Raises BadRequest without exactly one file that is not empty."""
    found = files.get("file", [])
    if not found:
        raise refused("file", "Required")
    if len(found) > 1:
        raise refused("file", "Expected one file")
    if not len(found[0]):
        raise refused("file", "Expected a recording, got an empty file")
    return Recording(found[0], [(name, text) for name, text in pairs if name != "model"])


def fields_of(pairs: list[tuple[str, str]]) -> dict[str, Raw]:
    """The form's texts by their plain names, as if it had been JSON: for what looks at names."""
    return {plain(name): Raw(encode(text)) for name, text in pairs}


def venice_only(names: set[str]) -> None:
    """What no schema of Venice's has. Raises BadRequest naming it."""
    if unknown := sorted(names - VENICE):
        raise unknown_keys(unknown)


def spoken(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """A whole answer as the events of a stream: its text, and that this was all of it."""
    text = str(answer.get("text", ""))
    told = {key: answer[key] for key in ("logprobs", "usage") if answer.get(key) is not None}
    events: list[dict[str, Any]] = [{"type": "transcript.text.delta", "delta": text}] if text else []
    return [*events, {"type": "transcript.text.done", "text": text, **told}]
