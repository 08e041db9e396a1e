"""audio/transcriptions of OpenAI's dialect: the caller's form out under its own names, texts, JSON or events in.

It hears nothing and changes no word of a transcript. Invariant: who asked for a stream gets one, also where the upstream
ignored it.
"""

from collections.abc import AsyncIterable, Awaitable, Callable
from typing import Any

from adapters._http import HttpResponse, TransportError
from adapters.faults import transport_fault
from adapters.line import once
from adapters.openai_api import whole
from adapters.openai_api.forms import Part, form_body
from adapters.openai_api.passing import Bytes
from adapters.options import OpenAIOptions
from adapters.replies import Stream, Whole
from proxy.call import Call, Target, Usage
from proxy.ports import Reply
from proxy.stream import CONTENT_TYPE, frame
from proxy.wire.body import encode
from proxy.wire.transcriptions import Recording, TranscriptionRequest, plain, spoken

MAX_ANSWER = 64 << 20
_TYPES = {"text": "text/plain; charset=utf-8", "srt": "text/plain; charset=utf-8", "vtt": "text/vtt; charset=utf-8"}

Send = Callable[[str, str, list[tuple[str, str]], bytes | AsyncIterable[bytes]], Awaitable[HttpResponse]]


class Transcripts:
    """One upstream's ears. `send` gives a response whose status is good."""

    def __init__(self, name: str, options: OpenAIOptions, send: Send) -> None:
        self._name = name
        self._options = options
        self._send = send

    async def open(self, call: Call, target: Target) -> Reply:
        """See `Adapter.open`."""
        type_, body = self._form(call, target)
        headers = [("content-type", type_), ("content-length", str(len(body))), ("x-request-id", call.id)]
        response = await self._send("POST", "/audio/transcriptions", headers, once(body))
        try:
            if "event-stream" in (response.header("content-type") or ""):
                done = b"transcript.text.done"
                source = Bytes(
                    response, Usage(), self._name, events=done, counted=lambda told: _usage(told.get("usage"))
                )
                return Stream(source, await source.read(), CONTENT_TYPE)
            said = await response.read(MAX_ANSWER)
        except TransportError as error:
            response.close()
            raise transport_fault(error, self._name) from None
        except BaseException:
            response.close()
            raise
        response.close()
        return self._told(call, said, response.header("content-type") or "")

    def _form(self, call: Call, target: Target) -> tuple[str, bytes]:
        recording: Recording = call.upload
        drops = self._options.drops
        call.dropped = sorted({plain(name) for name, _ in recording.texts} & drops)
        file = recording.file
        named = file.filename or "audio"
        parts = [Part("file", file.view(), named, file.declared or ""), Part("model", target.model)]
        parts += [Part(name, text) for name, text in recording.texts if plain(name) not in drops]
        return form_body(parts)

    def _told(self, call: Call, said: bytes, type_: str) -> Whole:
        request: TranscriptionRequest = call.request
        if request.as_text:
            if type_.startswith("text/html"):
                raise whole.malformed(self._name, "a page instead of a transcript")
            if not type_.startswith("application/json"):
                return Whole(said, None, type_ or _TYPES[request.response_format or "text"])
        answer = whole.decoded(said, self._name)
        if not isinstance(answer.get("text"), str):
            raise whole.malformed(self._name, "a transcript without a text")
        usage = _usage(answer.get("usage"))
        if request.response_format == "text":  # JSON where words were asked for: these are the words
            return Whole(answer["text"].encode(), usage, _TYPES["text"])
        if call.stream:
            return Whole(b"".join(frame(event) for event in spoken(answer)), usage, CONTENT_TYPE)
        return Whole(encode(answer), usage)


def _usage(told: Any) -> Usage | None:
    """Tokens where the model is billed by them; None where it is not: seconds are the upstream's to count."""
    counts = told if isinstance(told, dict) else {}
    sent, heard = (counts.get(name) for name in ("input_tokens", "output_tokens"))
    if not isinstance(sent, int) or not isinstance(heard, int):
        return None
    return Usage(prompt_tokens=max(0, sent), completion_tokens=max(0, heard))
