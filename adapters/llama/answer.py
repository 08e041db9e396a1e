"""What the engine said → chat chunks, or one chat completion. Sans-IO.

Chunks are put together from bytes that are the same for the whole stream and the few that are new: at thousands of
tokens a second the encoder would otherwise be the gateway's largest cost.
"""

import time
from typing import Any

import msgspec

from adapters.llama.spec import Delta, TokenLogprob, Usage
from adapters.llama.text.events import Reasoning, Text, ToolArgs, ToolStart
from proxy import call as calls
from proxy.stream import DONE, frame

_encode = msgspec.json.Encoder().encode


def usage_object(usage: Usage) -> dict[str, Any]:
    """OpenAI's usage object."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def usage_of(usage: Usage) -> calls.Usage:
    return calls.Usage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cached_tokens=usage.cached_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        source=calls.UsageSource.TOKENIZER,
    )


def logprobs_object(entries: list[TokenLogprob] | None) -> dict[str, Any] | None:
    if entries is None:
        return None
    return {"content": [_logprob(entry) for entry in entries], "refusal": None}


def _logprob(entry: TokenLogprob) -> dict[str, Any]:
    top = [_token(piece, logprob) for piece, logprob in entry.top]
    return {**_token(entry.piece, entry.logprob), "top_logprobs": top}


def _token(piece: bytes, logprob: float) -> dict[str, Any]:
    return {"token": piece.decode("utf-8", "replace"), "logprob": max(logprob, -9999.0), "bytes": list(piece)}


class ChunkWriter:
    """Deltas → frames of one stream."""

    def __init__(self, *, id: str, model: str, choices: int, wants_usage: bool, strip_thinking: bool) -> None:
        self._envelope = {"id": id, "object": "chat.completion.chunk", "created": int(time.time()), "model": model}
        self._wants_usage = wants_usage
        self._strip = strip_thinking
        head = frame(self._envelope)[:-3] + b',"choices":[{"index":'
        tail = b"}]" + (b',"usage":null' if wants_usage else b"") + b"}\n\n"
        self._heads = [head + str(index).encode() + b',"delta":' for index in range(choices)]
        self._plain = b',"logprobs":null,"finish_reason":null' + tail
        self._tail = tail

    def begin(self) -> bytes:
        """The role of every choice, first."""
        role = b'{"role":"assistant","content":""}'
        return b"".join(head + role + self._plain for head in self._heads)

    def deltas(self, deltas: list[Delta]) -> bytes:
        out: list[bytes] = []
        for delta in deltas:
            head = self._heads[delta.choice]
            logprobs = delta.logprobs
            for event in delta.events:
                body = self._event(event)
                if body is None:
                    continue
                if logprobs is None:
                    out.append(head + body + self._plain)
                else:
                    out.append(head + body + self._with(logprobs, None))
                    logprobs = None
            if logprobs or delta.finish is not None:
                out.append(head + b"{}" + self._with(logprobs, delta.finish))
        return b"".join(out)

    def _with(self, logprobs: list[TokenLogprob] | None, finish: str | None) -> bytes:
        said = _encode(logprobs_object(logprobs or None))
        return b',"logprobs":' + said + b',"finish_reason":' + _encode(finish) + self._tail

    def _event(self, event: Any) -> bytes | None:
        kind = type(event)
        if kind is Text:
            return b'{"content":' + _encode(event.text) + b"}"
        if kind is Reasoning:
            return None if self._strip else b'{"reasoning_content":' + _encode(event.text) + b"}"
        if kind is ToolStart:
            call = {
                "index": event.index,
                "id": event.id,
                "type": "function",
                "function": {"name": event.name, "arguments": ""},
            }
            return _encode({"tool_calls": [call]})
        return _encode({"tool_calls": [{"index": event.index, "function": {"arguments": event.text}}]})

    def end(self, usage: Usage | None) -> bytes:
        if not self._wants_usage or usage is None:
            return DONE
        return frame({**self._envelope, "choices": [], "usage": usage_object(usage)}) + DONE


class _Said:
    """One choice, collected."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.tools: list[dict[str, Any]] = []
        self.logprobs: list[TokenLogprob] | None = None
        self.finish = "stop"

    def take(self, delta: Delta) -> None:
        for event in delta.events:
            if isinstance(event, Text):
                self.text.append(event.text)
            elif isinstance(event, Reasoning):
                self.reasoning.append(event.text)
            elif isinstance(event, ToolStart):
                self.tools.append(
                    {"id": event.id, "type": "function", "function": {"name": event.name, "arguments": ""}}
                )
            elif isinstance(event, ToolArgs):
                self.tools[event.index]["function"]["arguments"] += event.text
        if delta.logprobs:
            self.logprobs = [*(self.logprobs or []), *delta.logprobs]
        if delta.finish is not None:
            self.finish = delta.finish

    def choice(self, index: int, strip_thinking: bool) -> dict[str, Any]:
        text = "".join(self.text)
        message: dict[str, Any] = {
            "role": "assistant",
            "content": text if text or not self.tools else None,
            "refusal": None,
        }
        if self.reasoning and not strip_thinking:
            message["reasoning_content"] = "".join(self.reasoning)
        if self.tools:
            message["tool_calls"] = self.tools
        logprobs = logprobs_object(self.logprobs)
        return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": self.finish}


class Collector:
    """Deltas → one completion."""

    def __init__(self, choices: int) -> None:
        self._choices = [_Said() for _ in range(choices)]

    def take(self, deltas: list[Delta]) -> None:
        for delta in deltas:
            self._choices[delta.choice].take(delta)

    def completion(self, *, id: str, model: str, usage: Usage, strip_thinking: bool) -> dict[str, Any]:
        return {
            "id": id,
            "object": "chat.completion",
            "created": int(time.time()),
            "model": model,
            "choices": [said.choice(i, strip_thinking) for i, said in enumerate(self._choices)],
            "usage": usage_object(usage),
        }
