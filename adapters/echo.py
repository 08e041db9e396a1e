"""Kind `echo`: a deterministic upstream that repeats the last message, word by word. For documentation, tests and benchmarks.

It opens no socket. Its usage counts words, and says so by being an estimate.
"""

import asyncio
import time
from typing import ClassVar

from adapters.options import EchoOptions
from adapters.replies import Stream, Whole
from proxy.call import Call, Ending, Operation, Target, Usage, UsageSource
from proxy.ports import Caps, Reply
from proxy.stream import DONE, frame
from proxy.wire.body import encode
from proxy.wire.chat import ChatRequest


class Echo:
    kind: ClassVar[str] = "echo"

    def __init__(self, name: str, options: EchoOptions) -> None:
        self.name = name
        self.options = options
        self.caps = Caps(
            operations=frozenset({Operation.CHAT}), forwards=frozenset({"max_tokens", "max_completion_tokens"})
        )

    async def open(self, call: Call, target: Target) -> Reply:
        request: ChatRequest = call.request
        words = request.messages[-1].text.split()
        limit = request.limit
        cut = limit is not None and len(words) > limit
        words = words[:limit] if cut else words
        usage = Usage(sum(len(m.text.split()) for m in request.messages), len(words), source=UsageSource.ESTIMATE)
        if self.options.delay_s:
            await asyncio.sleep(self.options.delay_s)
        say = _Script(call, words, "length" if cut else "stop", usage, self.options.chunk_delay_s)
        if not call.stream:
            return Whole(encode(say.whole()), usage)
        return Stream(say, await say.read())

    async def probe(self, target: Target | None = None) -> str:
        del target
        return "repeats what it is told"

    async def aclose(self) -> None:
        return None


class _Script:
    def __init__(self, call: Call, words: list[str], finish: str, usage: Usage, delay_s: float) -> None:
        assert call.plan is not None
        request: ChatRequest = call.request
        self._words = words
        self._finish = finish
        self._delay_s = delay_s
        self._wants_usage = request.wants_usage
        self._head = {"id": f"chatcmpl-{call.id}", "created": int(time.time()), "model": call.plan.model.id}
        self._at = -1
        self.usage: Usage | None = usage
        self.ending: Ending | None = None

    def _count(self) -> dict[str, int]:
        assert self.usage is not None
        return {
            "prompt_tokens": self.usage.prompt_tokens,
            "completion_tokens": self.usage.completion_tokens,
            "total_tokens": self.usage.total_tokens,
        }

    def whole(self) -> dict[str, object]:
        message = {"role": "assistant", "content": " ".join(self._words), "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self._finish}
        return {**self._head, "object": "chat.completion", "choices": [choice], "usage": self._count()}

    def _chunk(self, delta: dict[str, str], finish: str | None = None) -> bytes:
        out: dict[str, object] = {**self._head, "object": "chat.completion.chunk"}
        out["choices"] = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
        if self._wants_usage:
            out["usage"] = None
        return frame(out)

    async def read(self) -> bytes:
        self._at += 1
        if self._at == 0:
            return self._chunk({"role": "assistant", "content": ""})
        if self._at <= len(self._words):
            if self._delay_s:
                await asyncio.sleep(self._delay_s)
            return self._chunk({"content": ("" if self._at == 1 else " ") + self._words[self._at - 1]})
        last = [self._chunk({}, self._finish)]
        if self._wants_usage:
            envelope = {**self._head, "object": "chat.completion.chunk", "choices": [], "usage": self._count()}
            last.append(frame(envelope))
        self.ending = Ending.FINISHED
        return b"".join([*last, DONE])

    def close(self) -> None:
        self._words = []


def build(name: str, options: EchoOptions) -> Echo:
    return Echo(name, options)
