"""What a scripted language model says, as an OpenAI-shaped completion or as a stream of chunks.

It owns the shapes that several doubles have in common; parameters are checked by the doubles. Without a script the model
repeats the last user text, so that a test sees what arrived.
"""

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

from fakes.doubles.clockwork import Pace


@dataclass(slots=True)
class Speech:
    """One answer: text in tokens, thoughts before it, calls of tools after it."""

    tokens: list[str]
    reasoning: list[str] = field(default_factory=list)
    tool_calls: list[tuple[str, str]] = field(default_factory=list)
    finish: str = "stop"
    prompt_tokens: int = 0

    @property
    def usage(self) -> dict[str, int]:
        made = len(self.tokens) + len(self.reasoning)
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": made,
            "total_tokens": self.prompt_tokens + made,
        }


def text_of(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return " ".join(part.get("text", f"[{part.get('type')}]") for part in content)


def speech_for(body: dict[str, Any], fate: dict[str, Any], limit: int | None) -> Speech:
    """The scripted answer, or an echo; cut at `limit` tokens and at stop sequences, as an engine would."""
    messages = body.get("messages") or [{"role": "user", "content": body.get("prompt", "")}]
    asked = next((text_of(m) for m in reversed(messages) if m["role"] == "user"), "")
    words = ("You said: " + asked).split(" ")
    tokens = list(fate.get("say", [w if n == 0 else " " + w for n, w in enumerate(words)]))
    speech = Speech(tokens, list(fate.get("think", [])), list(fate.get("calls", [])), fate.get("finish", "stop"))
    speech.prompt_tokens = sum(4 + len(text_of(m).split()) for m in messages)
    if speech.tool_calls and "finish" not in fate:
        speech.finish = "tool_calls"
    if limit is not None and len(tokens) > limit:
        speech.tokens, speech.finish = tokens[:limit], "length"
    stops = body.get("stop") or []
    for stop in [stops] if isinstance(stops, str) else stops:
        whole = "".join(speech.tokens)
        if stop in whole:
            speech.tokens, speech.finish = [whole[: whole.index(stop)]], "stop"
    return speech


def _calls(speech: Speech) -> list[dict[str, Any]]:
    return [
        {"id": f"call_{n}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for n, (name, arguments) in enumerate(speech.tool_calls)
    ]


def completion(speech: Speech, model: str, identity: str, count: int = 1) -> dict[str, Any]:
    """The `chat.completion` object."""
    message: dict[str, Any] = {"role": "assistant", "content": "".join(speech.tokens)}
    if speech.reasoning:
        message["reasoning_content"] = "".join(speech.reasoning)
    if speech.tool_calls:
        message |= {"content": "".join(speech.tokens) or None, "tool_calls": _calls(speech)}
    choices = [{"index": n, "message": message, "finish_reason": speech.finish, "logprobs": None} for n in range(count)]
    shared = {"id": identity, "object": "chat.completion", "created": int(time.time()), "model": model}
    return shared | {"choices": choices, "usage": speech.usage}


@dataclass(slots=True)
class Style:
    """How a vendor streams: line ends, usage on each chunk, the closing `[DONE]`, extra chunks first."""

    crlf: bool = False
    usage_on_each: bool = False
    done: bool = True
    first: list[dict[str, Any]] = field(default_factory=list)
    spaced: bool = True


async def stream(
    speech: Speech, model: str, identity: str, *, usage: bool, pace: Pace, style: Style | None = None
) -> AsyncGenerator[bytes, None]:
    """SSE chunks: role, thoughts, text, calls, finish, usage if asked for, `[DONE]`."""
    style = style or Style()
    shared = {"id": identity, "object": "chat.completion.chunk", "created": int(time.time()), "model": model}

    def event(**more: Any) -> bytes:
        end = "\r\n\r\n" if style.crlf else "\n\n"
        return ("data: " + json.dumps(shared | more, ensure_ascii=False) + end).encode()

    def delta(change: dict[str, Any], finish: str | None = None) -> bytes:
        extra = {"usage": speech.usage} if style.usage_on_each else {}
        return event(choices=[{"index": 0, "delta": change, "finish_reason": finish}], **extra)

    await asyncio.sleep(pace.first)
    for more in style.first:
        yield event(**more)
    yield delta({"role": "assistant", "content": ""})
    for thought in speech.reasoning:
        yield delta({"reasoning_content": thought})
        await asyncio.sleep(pace.token)
    for token in speech.tokens:
        yield delta({"content": token})
        await asyncio.sleep(pace.token)
    for n, call in enumerate(_calls(speech)):
        arguments = call["function"]["arguments"]
        half = len(arguments) // 2
        yield delta(
            {"tool_calls": [call | {"index": n, "function": {"name": call["function"]["name"], "arguments": ""}}]}
        )
        for part in (arguments[:half], arguments[half:]):
            yield delta({"tool_calls": [{"index": n, "function": {"arguments": part}}]})
    yield delta({}, speech.finish)
    if usage:
        yield event(choices=[], usage=speech.usage)
    if style.done:
        yield b"data: [DONE]\r\n\r\n" if style.crlf else b"data: [DONE]\n\n"


def vector(text: str, size: int) -> list[float]:
    """A unit-free vector that depends on the text alone."""
    import hashlib

    raw = hashlib.shake_128(text.encode()).digest(2 * size)
    return [round(int.from_bytes(raw[2 * n : 2 * n + 2], "big") / 65535 - 0.5, 6) for n in range(size)]
