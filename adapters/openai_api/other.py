"""The routes of OpenAI's dialect beside chat: embeddings and speech here, pictures and transcripts in their modules.

It borrows the adapter's `send` and knows neither its socket nor its switches beyond `drops` and `max_batch`. Invariant: a
batch that was split comes back whole and in order, or not at all.
"""

from collections.abc import AsyncIterable, Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import msgspec

from adapters._http import HttpResponse, TransportError
from adapters.faults import transport_fault
from adapters.line import once
from adapters.openai_api import whole
from adapters.openai_api.passing import Bytes
from adapters.openai_api.pictures import Pictures
from adapters.openai_api.transcripts import Transcripts
from adapters.options import OpenAIOptions
from adapters.replies import Stream, Whole
from adapters.together import together
from proxy import tokens
from proxy.call import Call, Operation, Target, Usage, UsageSource
from proxy.errors import UpstreamError
from proxy.media import vectors
from proxy.media.audio_formats import FORMATS
from proxy.params import Sorted, sort_out
from proxy.ports import Caps, Reply
from proxy.wire import embeddings
from proxy.wire.body import encode
from proxy.wire.speech import SpeechRequest

MAX_ANSWER = 256 << 20
AT_ONCE = 4  # parts of one large batch
OPERATIONS = frozenset(
    {Operation.EMBEDDINGS, Operation.SPEECH, Operation.TRANSCRIPTION, Operation.IMAGES, Operation.IMAGE_EDIT}
)
_JSON = ("content-type", "application/json")

Send = Callable[[str, str, list[tuple[str, str]], bytes | AsyncIterable[bytes]], Awaitable[HttpResponse]]


class Others:
    """One upstream's other routes. `send` gives a response whose status is good."""

    def __init__(self, name: str, options: OpenAIOptions, caps: Caps, send: Send) -> None:
        self._name = name
        self._options = options
        self._caps = caps
        self._send = send
        self._drawing = pictures = Pictures(name, options, caps, send)
        self._routes = {
            Operation.EMBEDDINGS: self._embeddings,
            Operation.SPEECH: self._speech,
            Operation.TRANSCRIPTION: Transcripts(name, options, send).open,
            Operation.IMAGES: pictures.draw,
            Operation.IMAGE_EDIT: pictures.edit,
            Operation.UPSCALE: pictures.enlarge,
        }

    async def open(self, call: Call, target: Target) -> Reply:
        """See `Adapter.open`."""
        return await self._routes[call.operation](call, target)

    def preview(self, call: Call, target: Target) -> Sorted:
        """See `proxy.ports.Previews`."""
        if call.operation is Operation.IMAGES:
            return self._drawing.preview(call, target)
        return sort_out(call.fields, self._caps, self._options.drops)

    async def _embeddings(self, call: Call, target: Target) -> Reply:
        assert call.plan is not None
        request: embeddings.EmbeddingsRequest = call.request
        done = sort_out(call.fields, self._caps, self._options.drops)
        call.dropped = done.dropped
        slices = embeddings.inputs(request).slices(max(1, self._options.max_batch), self._options.max_batch_tokens)
        first, *rest = slices
        works = [partial(self._vectors, call, target, part, len(slices) == 1, done.kept) for part in rest]
        found = [await self._vectors(call, target, first, len(slices) == 1, done.kept)]
        try:
            found += await together(works, at_once=AT_ONCE) if works else []
        except UpstreamError as error:
            error.accepted = True  # what went before has been paid for
            raise
        rows = [row for some, _ in found for row in some]
        counts = [count for _, count in found if count is not None]
        usage = Usage(prompt_tokens=sum(counts))
        if len(counts) < len(found):  # an upstream that does not count
            usage.prompt_tokens, usage.source = await _counted(slices)
        out = embeddings.answer(
            rows, model=call.plan.model.id, encoding=request.encoding_format, prompt_tokens=usage.prompt_tokens
        )
        return Whole(encode(out), usage)

    async def _vectors(
        self, call: Call, target: Target, part: embeddings.Inputs, alone: bool, kept: dict[str, msgspec.Raw]
    ) -> tuple[list[Sequence[float]], int | None]:
        """The vectors of a part of the inputs, and its tokens if the upstream counted them."""
        given: Any = call.fields["input"] if alone else part.texts or part.tokens
        body = encode({"model": target.model, "input": given, **kept})
        said = await self._asked("/embeddings", [_JSON, ("x-request-id", call.id)], body)
        usage = said.get("usage")
        count = usage.get("prompt_tokens") if isinstance(usage, dict) else None
        return _rows(said, len(part), self._name), count if isinstance(count, int) and count > 0 else None

    async def _speech(self, call: Call, target: Target) -> Reply:
        """Sound (or events) as it comes, whoever asked for streaming: the dialect has no whole answer."""
        request: SpeechRequest = call.request
        done = sort_out(call.fields, self._caps, self._options.drops | {"streaming"})
        call.dropped = [name for name in done.dropped if name != "streaming"]  # it streams in any case
        spoken: dict[str, Any] = {"model": target.model, "input": request.input, **done.kept}
        if (voice := self._options.voices.get(request.voice_name("default"))) is not None:
            spoken["voice"] = voice
        body = encode(spoken)
        headers = [_JSON, ("content-length", str(len(body))), ("x-request-id", call.id)]
        response = await self._send("POST", "/audio/speech", headers, once(body))
        type_ = response.header("content-type") or FORMATS[request.response_format or "mp3"].content_type
        usage = Usage(characters=len(request.input))
        source = Bytes(response, usage, self._name, events=b"speech.audio.done" if request.events else b"")
        try:
            if type_.startswith("application/json"):
                whole.decoded(await response.read(MAX_ANSWER), self._name)
                raise whole.malformed(self._name, "an answer that is no sound")
            return Stream(source, await source.read(), type_)
        except TransportError as error:
            source.close()
            raise transport_fault(error, self._name) from None
        except BaseException:
            source.close()
            raise

    async def _asked(self, path: str, headers: list[tuple[str, str]], body: bytes) -> dict[str, Any]:
        response = await self._send("POST", path, headers, body)
        try:
            return whole.decoded(await response.read(MAX_ANSWER), self._name)
        except TransportError as error:
            raise transport_fault(error, self._name) from None
        finally:
            response.close()


async def _counted(slices: list[embeddings.Inputs]) -> tuple[int, UsageSource]:
    """Our own count of the inputs."""
    if slices[0].tokens:
        return sum(len(item) for part in slices for item in part.tokens), UsageSource.TOKENIZER
    return await tokens.count([text for part in slices for text in part.texts])


def _rows(said: dict[str, Any], count: int, upstream: str) -> list[Sequence[float]]:
    """The vectors of an answer in the order of the inputs, whichever way they are encoded."""
    data = said.get("data")
    if not isinstance(data, list) or len(data) != count:
        raise whole.malformed(upstream, f"an answer that does not have {count} embeddings")
    rows: list[Sequence[float] | None] = [None] * count
    for place, item in enumerate(data):
        index = item.get("index", place) if isinstance(item, dict) else None
        if not isinstance(index, int) or not 0 <= index < count or rows[index] is not None:
            raise whole.malformed(upstream, "embeddings whose numbers are not 0, 1, 2 …")
        rows[index] = _vector(item.get("embedding"), upstream)
    return [row for row in rows if row is not None]


def _vector(value: Any, upstream: str) -> Sequence[float]:
    if isinstance(value, str):
        try:
            return vectors.from_base64(value)
        except ValueError:
            pass
    elif isinstance(value, list) and value and all(type(number) in (int, float) for number in value):
        return value
    raise whole.malformed(upstream, "an embedding that is no vector")
