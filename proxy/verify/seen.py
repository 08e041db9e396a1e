"""What was seen of a server: the answers by name, and the views of them that checks share.

Owns decoding (JSON, gzip, streams), done once and kept. Asks nobody and judges nothing. Invariant: a view of an answer
that is not there raises `Skip`, a view of one that failed raises `Fail`: a check need not ask twice.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import msgspec

from proxy.verify.http1 import Response
from proxy.verify.sse import Event, Stream, parse

STREAMS = ("stream", "stream_bare", "stream_usage_off", "stream_n", "stream_tools")
PLAINS = ("plain", "plain_n", "plain_tools", "plain_length", "plain_stop", "plain_nulls", "plain_parts")


class Skip(Exception):
    """A check cannot be judged; the text says why."""


class Fail(Exception):
    """A check failed; the text is the evidence."""


def clip(raw: bytes | str | object, size: int = 160) -> str:
    """Evidence on one line: bytes as bytes, everything else as JSON."""
    text = repr(bytes(raw)) if isinstance(raw, (bytes, bytearray)) else raw
    text = text if isinstance(text, str) else msgspec.json.encode(text).decode()
    return text if len(text) <= size else text[: size - 1] + "…"


@dataclass
class Seen:
    """Everything that was seen. `skipped` says why a question was not asked."""

    model: str
    key: str | None = None
    embedding_model: str | None = None
    answers: dict[str, Response] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def answer(self, name: str) -> Response:
        """The answer to a question. Raises `Skip` where it was not asked."""
        if name not in self.answers:
            raise Skip(self.skipped.get(name, f"{name} was not asked"))
        return self.answers[name]

    def good(self, name: str) -> Response:
        """A whole 200. Raises `Skip` for a refusal (4xx but 429), `Fail` for anything else."""
        answer = self.answer(name)
        if 400 <= answer.status < 500 and answer.status != 429:
            raise Skip(f"{name} was refused: {answer.status} {clip(self.body(name))}")
        if answer.status != 200 or not answer.whole:
            raise Fail(f"{name}: status {answer.status}, {'; '.join(answer.problems) or clip(self.body(name))}")
        return answer

    def body(self, name: str) -> bytes:
        """The body, decompressed where it came compressed."""
        answer = self.answer(name)
        if "gzip" not in (answer.header("content-encoding") or ""):
            return bytes(answer.body)
        try:
            return zlib.decompressobj(47).decompress(bytes(answer.body))
        except zlib.error:
            return bytes(answer.body)

    def json(self, name: str) -> dict[str, Any]:
        """The body of a whole 200 as a JSON object. Raises `Skip` or `Fail`."""
        self.good(name)
        return self.document(name)

    def document(self, name: str) -> dict[str, Any]:
        """The body as a JSON object, whatever the status. Raises `Fail`."""
        try:
            value = msgspec.json.decode(self.body(name))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Fail(f"{name}: no JSON ({error}): {clip(self.body(name))}") from error
        if not isinstance(value, dict):
            raise Fail(f"{name}: no JSON object: {clip(self.body(name))}")
        return value

    @cached_property
    def streams(self) -> dict[str, Stream]:
        """The answers that are event streams, parsed once (so: after all was asked), in the order of `STREAMS`."""
        found: dict[str, Stream] = {}
        for name in STREAMS:
            answer = self.answers.get(name)
            if answer is not None and answer.status == 200 and answer.content_type == "text/event-stream":
                found[name] = parse(self.body(name))
        return found

    def stream(self, name: str) -> Stream:
        """One of the streams. Raises `Skip` where it was refused or not asked, `Fail` where it is no stream."""
        answer = self.good(name)
        if name not in self.streams:
            raise Fail(f"{name}: {answer.content_type or 'no content type'}: {clip(self.body(name))}")
        return self.streams[name]

    def events(self) -> Iterator[tuple[str, Event]]:
        """All events of all streams."""
        for name, stream in self.streams.items():
            for event in stream.events:
                yield name, event

    def chunks(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """All chunks of all streams."""
        for name, stream in self.streams.items():
            for chunk in stream.chunks:
                yield name, chunk


def choices(chunk: dict[str, Any]) -> list[dict[str, Any]]:
    """The choices of a chunk or an answer that are objects; empty where there are none or something else is."""
    found = chunk.get("choices")
    return [choice for choice in found if isinstance(choice, dict)] if isinstance(found, list) else []


def deltas(stream: Stream, index: int | None = None) -> Iterator[dict[str, Any]]:
    """The deltas of a stream, of one choice or of all."""
    for chunk in stream.chunks:
        for choice in choices(chunk):
            delta = choice.get("delta")
            if isinstance(delta, dict) and index in (None, choice.get("index")):
                yield delta
