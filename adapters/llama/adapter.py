"""Kind `llama`: the local engine as an upstream. It owns the fleet of loaded models of one configured upstream, and turns
calls into generations and back. It never imports llama_cpp: that lives in the children.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from adapters.llama.answer import ChunkWriter, Collector, usage_of
from adapters.llama.fleet import Fleet
from adapters.llama.generation import Generation
from adapters.llama.instances import Instances
from adapters.llama.request import FORWARDS, REFUSES, generate
from adapters.llama.resident import Hold
from adapters.llama.spec import Delta, Embed, Generate
from adapters.options import LlamaOptions
from adapters.patience import opened
from adapters.replies import Whole
from proxy import call as calls
from proxy.call import Call, Ending, Operation, Target
from proxy.errors import ModelUnknown
from proxy.lane import Lane
from proxy.media import vectors
from proxy.params import sort_out
from proxy.ports import Caps, Instance, Reply
from proxy.wire.body import encode
from proxy.wire.chat import ChatRequest
from proxy.wire.embeddings import EmbeddingsRequest, answer, inputs

if TYPE_CHECKING:
    from adapters.llama.vision.pictures import Pictures

CAPS = Caps(
    operations=frozenset({Operation.CHAT, Operation.EMBEDDINGS}),
    forwards=FORWARDS | {"dimensions", "encoding_format"},
    refuses=REFUSES,
)


def _pictures(options: LlamaOptions) -> "Pictures":
    from adapters.llama.vision.pictures import Pictures  # Pillow and HTTP, which few models need

    return Pictures(options.image_hosts)


class Llama:
    """Kind `llama`."""

    kind: ClassVar[str] = "llama"

    def __init__(self, name: str, options: LlamaOptions) -> None:
        self.name = name
        self.options = options
        self.caps: Caps = CAPS
        self.fleet = Fleet(options, name)
        self._instances = Instances(self.fleet)
        self._pictures = _pictures(options) if options.projector else None

    async def open(self, call: Call, target: Target) -> Reply:
        """See `Adapter.open`. A model that is not loaded is loaded first; a streaming caller is told how that goes."""
        assert call.plan is not None
        if not call.plan.model.listed and not self.fleet.owns(target.model):
            raise ModelUnknown(f"The model {call.plan.asked[:200]!r} does not exist.", param="model")
        call.dropped = sort_out(call.fields, self.caps).dropped
        if call.operation is Operation.EMBEDDINGS:
            return await self._embeddings(call, target)
        asked = generate(call)
        if self._pictures is not None:
            asked = await self._pictures.shown(asked)
        if call.stream:
            progress = _Progress()
            return await opened(self._begun(call, target, asked, progress), progress.said)
        hold, generation, first = await self._started(target, asked, None)
        try:
            return await self._whole(call, generation, first, asked.n)
        finally:
            generation.cancel()
            hold.release()

    async def _embeddings(self, call: Call, target: Target) -> Whole:
        assert call.plan is not None
        request: EmbeddingsRequest = call.request
        given = inputs(request)
        hold = await self.fleet.acquire(target.model)
        try:
            blob, tokens = await hold.engine.embed(
                Embed(texts=given.texts, tokens=given.tokens, dimensions=request.dimensions)
            )
        finally:
            hold.release()
        rows = vectors.rows(blob, len(given))
        out = answer(rows, model=call.plan.model.id, encoding=request.encoding_format, prompt_tokens=tokens)
        return Whole(encode(out), calls.Usage(prompt_tokens=tokens))

    async def _started(
        self, target: Target, asked: Generate, progress: "_Progress | None"
    ) -> tuple[Hold, Generation, list[Delta] | None]:
        """A loaded model, a generation on it, and its first deltas."""
        hold = await self.fleet.acquire(target.model, progress)
        generation = None
        try:
            generation = hold.engine.submit(asked)
            return hold, generation, await generation.next()
        except BaseException:
            if generation is not None:
                generation.cancel()
            hold.release()
            raise

    async def _begun(
        self, call: Call, target: Target, asked: Generate, progress: "_Progress"
    ) -> tuple["Tokens", bytes]:
        assert call.plan is not None
        request: ChatRequest = call.request
        hold, generation, first = await self._started(target, asked, progress)
        writer = ChunkWriter(
            id=f"chatcmpl-{call.id}",
            model=call.plan.model.id,
            choices=asked.n,
            wants_usage=request.wants_usage,
            strip_thinking=call.plan.features.strip_thinking,
        )
        source = Tokens(hold, generation, writer)
        return source, writer.begin() + source.take(first)

    async def _whole(self, call: Call, generation: Generation, first: list[Delta] | None, choices: int) -> Whole:
        assert call.plan is not None
        collector = Collector(choices)
        deltas = first
        while deltas is not None:
            collector.take(deltas)
            deltas = await generation.next()
        assert generation.usage is not None
        answer = collector.completion(
            id=f"chatcmpl-{call.id}",
            model=call.plan.model.id,
            usage=generation.usage,
            strip_thinking=call.plan.features.strip_thinking,
        )
        return Whole(encode(answer), usage_of(generation.usage))

    async def probe(self, target: Target | None = None) -> str:
        """Loads the model, if one is named; else says what could be loaded."""
        if target is None:
            loaded = [status.path.rpartition("/")[2] for status in self.fleet.statuses()]
            return f"ready to load; loaded: {', '.join(loaded) or 'nothing'}"
        hold = await self.fleet.acquire(target.model)
        try:
            info = hold.engine.info
        finally:
            hold.release()
        assert info is not None
        size = f"{info.parameters / 1e6:.1f}M parameters, {info.context_tokens} tokens of context"
        return f"{info.name or target.model}: {size}"

    def facts(self, target: Target) -> dict[str, Any]:
        """What is known of a model without loading it, and its state: for `models`."""
        return self.fleet.facts(target.model)

    # -- proxy.ports.HoldsModels and ListsModels --------------------------------------------------------------------

    async def load(
        self, target: Target, *, concurrency: int | None = None, keep_s: float | None = None, wait: bool = False
    ) -> Instance:
        return await self._instances.load(target.model, concurrency=concurrency, keep_s=keep_s, wait=wait)

    async def unload(self, target: Target, *, wait: bool = False) -> Instance | None:
        return await self._instances.unload(target.model, wait=wait)

    def owns(self, target: Target) -> bool:
        return self.fleet.owns(target.model)

    def instance(self, target: Target) -> Instance:
        return self._instances.one(target.model)

    def instances(self, names: Sequence[str] = ()) -> list[Instance]:
        return self._instances.all(names)

    async def models(self, search: str = "") -> list[dict[str, object]]:
        """The demo, and what is in the folder."""
        names = await asyncio.to_thread(self.fleet.references)
        return [{"id": name, **self.facts(Target(self.name, name))} for name in names if search.lower() in name.lower()]

    async def aclose(self) -> None:
        await self.fleet.aclose()


class _Progress:
    """How loading goes, for a caller who waits."""

    def __init__(self) -> None:
        self._share: float | None = None

    def __call__(self, share: float) -> None:
        self._share = share

    def said(self) -> str:
        if self._share is None or self._share >= 1:
            return "waiting for a free place in the engine"
        return f"loading the model: {self._share:.0%}"


class Tokens:
    """A generation, read as frames."""

    __slots__ = ("_generation", "_hold", "_writer", "ending", "usage")

    def __init__(self, hold: Hold, generation: Generation, writer: ChunkWriter) -> None:
        self._hold = hold
        self._generation = generation
        self._writer = writer
        self.ending: Ending | None = None
        self.usage: calls.Usage | None = None

    def take(self, deltas: list[Delta] | None) -> bytes:
        """The frames of some deltas; None is the end."""
        out = self._writer.deltas(deltas) if deltas else b""
        if deltas is None or self._generation.ended:
            usage = self._generation.usage
            self.usage = usage_of(usage) if usage is not None else None
            self.ending = Ending.FINISHED
            out += self._writer.end(usage)
        return out

    async def read(self) -> bytes:
        while self.ending is None:
            out = self.take(await self._generation.next())
            if out:
                return out
        return b""

    async def flow(self, write: Callable[[bytes], bool], _lane: Lane | None = None) -> bytes:
        """# fast path: frames go to `write` in the moment their tokens come. Returns those that it did not take, or the last.

        Raises UpstreamError as `read` does.
        """
        writer = self._writer
        left = b""
        failure: Exception | None = None

        def sink(deltas: list[Delta]) -> bool:
            nonlocal left, failure
            try:
                frames = writer.deltas(deltas)
            except Exception as error:  # noqa: BLE001 - we are in the socket's callback: raised where it is awaited
                failure = error
                return False
            if not frames or write(frames):
                return True
            left = frames
            return False

        await self._generation.flow(sink)
        if failure is not None:
            raise failure
        return left or self.take(None)

    def close(self) -> None:
        self._generation.cancel()
        self._hold.release()


def build(name: str, options: LlamaOptions) -> Llama:
    """See `adapters.build`. Loads nothing."""
    return Llama(name, options)
