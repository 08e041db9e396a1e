"""Kind `llama`: the local engine as an upstream. It owns the fleet of loaded models of one configured upstream, and turns
calls into generations and back. It never imports llama_cpp: that lives in the children.
"""

from typing import Any, ClassVar

from adapters.llama.answer import ChunkWriter, Collector, usage_of
from adapters.llama.fleet import Fleet
from adapters.llama.generation import Generation
from adapters.llama.request import FORWARDS, REFUSES, generate
from adapters.options import LlamaOptions
from adapters.replies import Stream, Whole
from proxy import call as calls
from proxy.call import Call, Ending, Operation, Target
from proxy.params import sort_out
from proxy.ports import Caps, Reply
from proxy.wire.body import encode
from proxy.wire.chat import ChatRequest

CAPS = Caps(operations=frozenset({Operation.CHAT}), forwards=FORWARDS, refuses=REFUSES)


class Llama:
    """Kind `llama`."""

    kind: ClassVar[str] = "llama"

    def __init__(self, name: str, options: LlamaOptions) -> None:
        self.name = name
        self.options = options
        self.caps: Caps = CAPS
        self.fleet = Fleet(options)

    async def open(self, call: Call, target: Target) -> Reply:
        """See `Adapter.open`. A model that is not loaded is loaded first."""
        request: ChatRequest = call.request
        call.dropped = sort_out(call.fields, self.caps).dropped
        asked = generate(call)
        engine = await self.fleet.engine(target.model)
        generation = engine.submit(asked)
        try:
            first = await generation.next()
            assert call.plan is not None
            strip = call.plan.features.strip_thinking
            if not call.stream:
                return await self._whole(call, generation, first, asked.n)
        except BaseException:
            generation.cancel()
            raise
        writer = ChunkWriter(
            id=f"chatcmpl-{call.id}",
            model=call.plan.model.id,
            choices=asked.n,
            wants_usage=request.wants_usage,
            strip_thinking=strip,
        )
        source = Tokens(generation, writer)
        return Stream(source, writer.begin() + source.take(first))

    async def _whole(self, call: Call, generation: Generation, first: Any, choices: int) -> Whole:
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
            return self.fleet.summary()
        engine = await self.fleet.engine(target.model)
        info = engine.info
        assert info is not None
        return f"{info.name or target.model}: {info.parameters / 1e6:.1f}M parameters, {info.context_tokens} tokens of context"

    def facts(self, target: Target) -> dict[str, Any]:
        """What is known of a model without loading it, and its state: for `models`."""
        return self.fleet.facts(target.model)

    async def aclose(self) -> None:
        await self.fleet.aclose()


class Tokens:
    """A generation, read as frames."""

    __slots__ = ("_generation", "_writer", "ending", "usage")

    def __init__(self, generation: Generation, writer: ChunkWriter) -> None:
        self._generation = generation
        self._writer = writer
        self.ending: Ending | None = None
        self.usage: calls.Usage | None = None

    def take(self, deltas: Any) -> bytes:
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

    def close(self) -> None:
        self._generation.cancel()


def build(name: str, options: LlamaOptions) -> Llama:
    """See `adapters.build`. Loads nothing."""
    return Llama(name, options)
