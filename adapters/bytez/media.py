"""Pictures, speech and vectors by models of which Bytez says nothing but their task: one text in, one output out.

What has no documented parameter is not invented: sizes are fitted, formats made, hints dropped and named, and what would
change the answer is refused by name. It refuses to know whether a model is serverless or was loaded. Invariant: vectors
are as many as the texts and in their order, or the call fails.
"""

import time
from functools import partial
from typing import Any, Final

from adapters.accents import named
from adapters.bytez.api import Api, Runner
from adapters.download import AUDIO, IMAGE, Downloads, Want, sniff
from adapters.drawn import Drawn, made
from adapters.replies import Whole
from adapters.sounding import sounded
from adapters.together import together
from proxy import tokens
from proxy.call import Call, Operation, Target, Usage
from proxy.errors import Fault, UnsupportedParameter, UpstreamError
from proxy.media import styles
from proxy.params import Sorted
from proxy.wire import embeddings, images
from proxy.wire.body import encode
from proxy.wire.speech import SpeechRequest

ANYBODY: Final = frozenset({"", "default", "af_sky"})  # names of voices that ask for none: Venice's default is one
MAX_RUNS: Final = 32  # of one call, where a model takes one text at a time
_DRAWN: Final = frozenset(
    {
        *("model", "prompt", "width", "height", "size", "n", "style_preset", "format", "output_format"),
        *("output_compression", "response_format", "return_binary", "embed_exif_metadata", "stream"),
    }
)
_SPOKEN: Final = frozenset({"model", "input", "voice", "speed", "response_format", "stream_format", "streaming"})


class Media:
    """One upstream's."""

    def __init__(self, api: Api, runner: Runner, downloads: Downloads) -> None:
        self._api = api
        self._runner = runner
        self._downloads = downloads

    @staticmethod
    def preview(call: Call) -> Sorted:
        """What of a call is honoured here; nothing has a name there."""
        done = {Operation.IMAGES: _DRAWN, Operation.SPEECH: _SPOKEN}.get(call.operation, frozenset({"encoding_format"}))
        return named(call.fields, frozenset(), done)

    async def draw(self, call: Call, target: Target) -> Whole:
        """image/generate and images/generations: a picture a run, cut and scaled to the size that was ordered."""
        assert call.plan is not None
        order: images.Order = call.request
        images.suits(order, call.plan.model)
        prompt = order.prompt
        if order.style is not None:
            prompt, _ = styles.style(order.style).apply(prompt)
        call.dropped = [key for key in call.fields if key not in _DRAWN]
        began = time.perf_counter()
        drawn = await together([partial(self._picture, target.model, prompt)] * order.n, at_once=self._places)
        done = await made(order, drawn, time.perf_counter() - began, self._api.name, target.model)
        body, type_, headers = images.answer(order, done, id=call.id, fields=call.fields, started=call.started)
        return Whole(body, Usage(images=len(done.pictures)), type_, headers)

    async def _picture(self, model: str, prompt: str) -> Drawn:
        return Drawn(await self._file(await self._runner.run(model, prompt), IMAGE))

    async def speak(self, call: Call, target: Target) -> Whole:
        """audio/speech. A voice cannot be chosen; the names of the model's own card are taken for the one it has."""
        assert call.plan is not None
        request: SpeechRequest = call.request
        model = call.plan.model
        if request.voice_name("") not in ANYBODY | set(model.voices):
            raise UnsupportedParameter(f"Model {model.id!r} has one voice only.", param="voice")
        if request.speed not in (None, 1):
            raise UnsupportedParameter(f"Model {model.id!r} speaks at one speed only.", param="speed")
        call.dropped = [key for key in call.fields if key not in _SPOKEN]
        sound = await self._file(await self._runner.run(target.model, request.input), AUDIO)
        return await sounded(call, sound, self._api.name)

    async def embed(self, call: Call, target: Target) -> Whole:
        """embeddings: a run a text."""
        assert call.plan is not None
        request: embeddings.EmbeddingsRequest = call.request
        name = call.plan.model.id
        inputs = embeddings.inputs(request)
        if inputs.tokens:
            raise UnsupportedParameter(f"Model {name!r} accepts text input only.", param="input")
        if len(inputs) > MAX_RUNS:
            said = f"Model {name!r} takes one text at a time, and at most {MAX_RUNS} in a call."
            raise UnsupportedParameter(said, param="input")
        call.dropped = [key for key in call.fields if key not in ("model", "input", "encoding_format")]
        runs = [partial(self._vector, target.model, text) for text in inputs.texts]
        rows = await together(runs, at_once=self._places)
        count, source = await tokens.count(inputs.texts)
        out = embeddings.answer(rows, model=name, encoding=request.encoding_format, prompt_tokens=count)
        return Whole(encode(out), Usage(prompt_tokens=count, source=source))

    async def _vector(self, model: str, text: str) -> list[float]:
        found: Any = await self._runner.run(model, text)
        if isinstance(found, list) and len(found) == 1 and isinstance(found[0], list):
            found = found[0]
        if not isinstance(found, list) or not found or not all(type(item) in (int, float) for item in found):
            # A vector for each token is no embedding: how to make one of them is the model's own affair.
            raise self._malformed("an embedding that is no vector")
        return found

    async def _file(self, output: Any, want: Want) -> bytes:
        if isinstance(output, str) and output.startswith(("https://", "http://", "data:")):
            return (await self._downloads.get(output, want)).body
        if isinstance(output, bytes) and (sniff(output[:64]) or "").startswith(f"{want.what}/"):
            return output
        raise self._malformed(f"an output that holds no {want.what}")

    @property
    def _places(self) -> int:
        return max(1, min(4, self._api.options.concurrency))

    def _malformed(self, what: str) -> UpstreamError:
        return UpstreamError(Fault.MALFORMED, f"The upstream {self._api.name!r} sent {what}.", accepted=True)
