"""The client of the engine benchmarks: many streamed chat calls at once, each over a connection of its own.

It costs little, since it shares the cores with what it measures: raw bytes, no parsing while a round runs. What a round
must have produced is checked afterwards, from the last bytes of each answer.
"""

import asyncio
import json
import random
import re
import string
import time
from dataclasses import dataclass, field
from typing import Any, cast

from peers import Subject

CONTENT = b'"content":'
_LETTERS = string.ascii_uppercase + string.digits  # one byte-level token each: the vocabulary has no merges of them


@dataclass
class Answer:
    """One streamed answer. `times` are when a piece of text came (seconds), where that was asked for."""

    began: float = 0.0
    first: float = 0.0
    ended: float = 0.0
    times: list[float] = field(default_factory=list)
    usage: dict[str, Any] | None = None


class Stream(asyncio.Protocol):
    """One call on one connection."""

    def __init__(self, timed: bool) -> None:
        self.done: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.answer = Answer()
        self.texts = 0
        self.milestone: tuple[int, asyncio.Event] | None = None
        self._timed = timed
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def ask(self, payload: bytes) -> None:
        self.answer.began = time.perf_counter()
        self.transport.write(payload)

    def data_received(self, data: bytes) -> None:
        if self._timed or not self.answer.first:
            count = data.count(CONTENT)
            if count:
                self.texts += count
                # the first one is the role, which some send before there is any text
                if self.texts > 1 and not self.answer.first:
                    self.answer.first = time.perf_counter()
                if self._timed and self.texts > 1:
                    self.answer.times.append(time.perf_counter())
                if self.milestone is not None and self.texts >= self.milestone[0]:
                    self.milestone[1].set()
        self._tail = (self._tail + data)[-1500:]
        if self._tail.endswith(b"\r\n0\r\n\r\n"):
            self._finish()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error or ConnectionError(f"closed in the middle: {self._tail[-300:]!r}"))

    def _finish(self) -> None:
        self.answer.ended = time.perf_counter()
        found = re.findall(rb'"usage":\s?(\{(?:[^{}]|\{[^{}]*\})*\})', self._tail)
        self.answer.usage = json.loads(found[-1]) if found else None
        if b"[DONE]" not in self._tail or b'"length"' not in self._tail:
            self.done.set_exception(RuntimeError(f"not a whole answer: {self._tail[-600:]!r}"))
        else:
            self.done.set_result(self.answer)
        self.transport.abort()


def prompt(seed: int, tokens: int) -> str:
    """About that many tokens, different from the first one on."""
    rng = random.Random(seed)
    return "".join(rng.choice(_LETTERS) for _ in range(tokens))


def payload(subject: Subject, text: str, limit: int, settings: dict[str, Any]) -> bytes:
    body = {
        "model": "bench",
        "messages": [{"role": "user", "content": text}],
        "max_tokens": limit,
        "stream": True,
        "stream_options": {"include_usage": True},
        **settings,
    }
    data = json.dumps(body).encode()
    head = f"POST {subject.path} HTTP/1.1\r\nhost: 127.0.0.1:{subject.port}\r\ncontent-type: application/json\r\n"
    return head.encode() + f"content-length: {len(data)}\r\n\r\n".encode() + data


async def opened(subject: Subject, *, timed: bool = False) -> Stream:
    _, stream = await asyncio.get_running_loop().create_connection(lambda: Stream(timed), "127.0.0.1", subject.port)
    return stream


async def round_of(subject: Subject, prompts: list[str], limit: int, settings: dict[str, Any]) -> float:
    """All prompts at once; generated tokens per second, from the first request to the last end."""
    streams = [await opened(subject) for _ in prompts]
    began = time.perf_counter()
    for stream, text in zip(streams, prompts, strict=True):
        stream.ask(payload(subject, text, limit, settings))
    answers = await asyncio.gather(*(stream.done for stream in streams))
    spent = max(answer.ended for answer in answers) - began
    for answer in answers:
        if answer.usage is not None and answer.usage["completion_tokens"] != limit:
            raise RuntimeError(f"{subject.name} generated {answer.usage['completion_tokens']} tokens, not {limit}")
    return len(prompts) * limit / spent
