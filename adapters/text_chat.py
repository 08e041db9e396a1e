"""A chat over an upstream that only gives text: thoughts parted, stop sequences enforced here, usage counted if nobody says it.

It owns the shape of such a chat, whole or streamed; it refuses to know where the text comes from. Invariants: stopping at a
stop sequence closes the source at once; an answer whose tokens nobody counted upstream says that they are an estimate.
"""

import time
from collections.abc import Sequence
from typing import Any, Protocol

from adapters.patience import opened
from adapters.replies import Stream, Whole
from adapters.text_filters import Channel, Piece, TextFilters, Thinking
from proxy import tokens
from proxy.call import Call, Ending, Usage
from proxy.stream import DONE, frame
from proxy.wire.body import encode
from proxy.wire.chat import ChatRequest


class Texts(Protocol):
    """Where the text comes from. After the end `usage` is what the upstream counted, `full` whether a limit ended it."""

    @property
    def usage(self) -> Usage | None: ...

    @property
    def full(self) -> bool | None:
        """None: the upstream does not say."""
        ...

    async def read(self) -> str:
        """More text; "" once it ended well. Raises UpstreamError when it ends badly."""
        ...

    def note(self) -> str:
        """How it goes, in a few words, for somebody who waits."""
        ...

    def close(self) -> None: ...


class TextChat:
    """One answer made from texts: a Source of frames, or with `whole` one body."""

    def __init__(
        self, call: Call, texts: Texts, *, stops: Sequence[str] = (), echo: str = "", limit: int | None = None
    ) -> None:
        assert call.plan is not None
        request: ChatRequest = call.request
        self._request = request
        self._texts = texts
        self._limit = limit
        thinking = Thinking.STRIP if call.plan.features.strip_thinking else Thinking.PART
        self._filters = TextFilters(prompt_echo=echo, thinking=thinking, stops=[*stops_of(request), *stops])
        self._head = {"id": f"chatcmpl-{call.id}", "created": int(time.time()), "model": call.plan.model.id}
        self._said: list[Piece] = []
        self._begun = False
        self.usage: Usage | None = None
        self.ending: Ending | None = None

    async def read(self) -> bytes:
        """The next frames. See `Reply.next`."""
        while self.ending is None:
            pieces, over = await self._more()
            out = b"".join(self._chunk(_delta(piece)) for piece in pieces)
            if over:
                out += await self._finish()
            if out:
                return out
        return b""

    async def whole(self) -> Whole:
        """All of it in one body. Raises UpstreamError."""
        over = False
        while not over:
            _, over = await self._more()
        finish = await self._close_books()
        content = "".join(piece.text for piece in self._said if piece.channel is Channel.CONTENT)
        thoughts = "".join(piece.text for piece in self._said if piece.channel is Channel.REASONING)
        message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None}
        if thoughts:
            message["reasoning_content"] = thoughts
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
        assert self.usage is not None
        out = {**self._head, "object": "chat.completion", "choices": [choice], "usage": _counted(self.usage)}
        return Whole(encode(out), self.usage)

    def close(self) -> None:
        self._texts.close()

    async def _more(self) -> tuple[list[Piece], bool]:
        """The next pieces, and whether they are the last ones."""
        text = await self._texts.read()
        pieces = self._filters.feed(text) if text else self._filters.close()
        self._said += pieces
        over = not text or self._filters.stopped is not None
        if over:
            self._texts.close()
        return pieces, over

    async def _close_books(self) -> str:
        """Set `usage`; returns the finish reason."""
        usage = self._texts.usage
        if usage is None:
            prompt, source = await tokens.count_messages(self._request.messages)
            made, _ = await tokens.count([piece.text for piece in self._said])
            usage = Usage(prompt, made, source=source)
        self.usage = usage
        if self._filters.stopped is not None:
            return "stop"
        full = self._texts.full
        if full is None:
            full = self._limit is not None and usage.completion_tokens >= self._limit
        return "length" if full else "stop"

    async def _finish(self) -> bytes:
        finish = await self._close_books()
        out = self._chunk({}, finish)
        if self._request.wants_usage:
            assert self.usage is not None
            envelope = {**self._head, "object": "chat.completion.chunk", "choices": [], "usage": _counted(self.usage)}
            out += frame(envelope)
        self.ending = Ending.FINISHED
        return out + DONE

    def _chunk(self, delta: dict[str, str], finish: str | None = None) -> bytes:
        if not self._begun:
            self._begun = True
            delta = {"role": "assistant", "content": "", **delta}
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        out: dict[str, Any] = {**self._head, "object": "chat.completion.chunk", "choices": [choice]}
        if self._request.wants_usage:
            out["usage"] = None
        return frame(out)


async def reply_of(call: Call, chat: TextChat, texts: Texts) -> Stream | Whole:
    """The Reply of a call; whoever gives up meanwhile leaves no text source open."""
    try:
        if not call.stream:
            return await chat.whole()
        return await opened(_first(chat), texts.note)
    except BaseException:
        chat.close()
        raise


async def _first(chat: TextChat) -> tuple[TextChat, bytes]:
    try:
        return chat, await chat.read()
    except BaseException:
        chat.close()
        raise


def stops_of(request: ChatRequest) -> list[str]:
    stop = request.stop
    return [stop] if isinstance(stop, str) else list(stop or ())


def _delta(piece: Piece) -> dict[str, str]:
    return {"content" if piece.channel is Channel.CONTENT else "reasoning_content": piece.text}


def _counted(usage: Usage) -> dict[str, int]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }


# What an upstream of plain text cannot honour, and what leaving out would change the answer.
TEXT_ONLY_REFUSES = frozenset(
    {
        "tools",
        "tool_choice",
        "functions",
        "function_call",
        "response_format",
        "logprobs",
        "top_logprobs",
        "n",
        "audio",
        "web_search_options",
    }
)
