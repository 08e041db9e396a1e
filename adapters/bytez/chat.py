"""Bytez' OpenAI-like endpoint: few parameters, one request at a time on a small plan, errors that may come as a 200.

It knows no stop sequences: a call with some is read as text and cut here, and the connection closed at once. The chat ends
well only with a finish reason, or as one whole answer.
"""

from collections.abc import AsyncIterable
from typing import Any, NoReturn

import msgspec

from adapters._http import HttpClient, HttpResponse, TransportError
from adapters.accents import Accented
from adapters.faults import transport_fault
from adapters.openai_api import whole
from adapters.openai_api.adapter import MAX_ANSWER
from adapters.openai_api.chat_stream import usage_of
from adapters.openai_api.choices import text_of
from adapters.openai_api.failures import from_event, said
from adapters.options import BytezOptions
from adapters.text_chat import TEXT_ONLY_REFUSES, TextChat, reply_of, stops_of
from proxy.call import Call, Operation, Target, Usage
from proxy.errors import Fault, UpstreamError
from proxy.params import sort_out
from proxy.ports import Caps, Reply
from proxy.stream import EventTooLarge, Splitter, events
from proxy.wire.body import encode

_TRUE = msgspec.Raw(b"true")
OPENAI_PATH = "/models/v2/openai/v1"

CAPS = Caps(
    operations=frozenset({Operation.CHAT, Operation.EMBEDDINGS, Operation.IMAGES, Operation.SPEECH}),
    forwards=frozenset({"max_tokens", "max_completion_tokens", "temperature", "top_p"}),
    translates={},
    refuses=TEXT_ONLY_REFUSES,
    refuses_elsewhere={
        Operation.EMBEDDINGS: frozenset({"dimensions"}),
        Operation.IMAGES: frozenset({"background"}),
        Operation.SPEECH: frozenset({"instructions"}),
    },
)


class Chats(Accented):
    """The chats of kind `bytez`, over v2."""

    chats = OPENAI_PATH + "/chat/completions"

    def __init__(self, name: str, options: BytezOptions, client: HttpClient) -> None:
        super().__init__(name, options, client, CAPS)

    async def open(self, call: Call, target: Target) -> Reply:
        """See `Adapter.open`."""
        if not stops_of(call.request):
            return await super().open(call, target)
        # The text is read as a stream even for a whole answer, so that work past a stop sequence is not paid for.
        body = self._body(call, target, streamed=True)
        headers = [("content-type", "application/json"), ("accept", "text/event-stream"), ("x-request-id", call.id)]
        response = await self._send("POST", "/chat/completions", headers, body)
        texts = EventTexts(response, self.name)
        return await reply_of(call, TextChat(call, texts), texts)

    def _body(self, call: Call, target: Target, *, streamed: bool | None = None) -> bytes:
        done = sort_out(call.fields, self.caps)
        call.dropped = [key for key in done.dropped if key != "stop"]
        out: dict[str, Any] = {"model": target.model, "messages": self._messages(call), **done.kept}
        if call.stream if streamed is None else streamed:
            out |= {"stream": _TRUE, "stream_options": {"include_usage": True}}
        return encode(out)

    def _failure(self, response: HttpResponse, said: bytes) -> UpstreamError:
        """Its 429 says in `ratelimit-reset` when a place is free."""
        error = super()._failure(response, said)
        if error.fault is Fault.RATE_LIMITED and error.retry_after_s is None:
            reset = response.headers.get("ratelimit-reset") or ""
            error.retry_after_s = float(reset) if reset.isdigit() else None
        return error

    async def probe(self, target: Target | None = None) -> str:
        names = [str(row["id"]) for row in await self.models()]
        if target is not None and target.model not in names:
            return f"reachable, but it does not list {target.model!r} among its {len(names)} models"
        return f"reachable, {len(names)} models"

    async def models(self, search: str = "") -> list[dict[str, object]]:
        response = await self._send("GET", "/models/v2/list/models", [], b"")
        try:
            body = whole.decoded(await response.read(MAX_ANSWER), self.name)
        except TransportError as error:
            raise transport_fault(error, self.name) from None
        finally:
            response.close()
        listed = body.get("output")
        rows = [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
        named = [{"id": str(row.get("modelId")), **row} for row in rows]
        return [row for row in named if search.lower() in str(row["id"]).lower()]

    async def _send(
        self, method: str, path: str, headers: list[tuple[str, str]], body: bytes | AsyncIterable[bytes]
    ) -> HttpResponse:
        """The dialect's routes lie under one prefix, the list of models beside it."""
        there = path if path.startswith("/models/v2") else OPENAI_PATH + path
        return await super()._send(method, there, headers, body)


class EventTexts:
    """The texts of a stream of chat chunks (or of a completion that came whole)."""

    def __init__(self, response: HttpResponse, upstream: str) -> None:
        self._response = response
        self._upstream = upstream
        self._splitter = Splitter()
        self._finish: str | None = None
        self._over = self._seen = False
        self.usage: Usage | None = None

    @property
    def full(self) -> bool | None:
        return self._finish == "length"

    async def read(self) -> str:
        while not self._over:
            try:
                data = await self._response.chunk()
                if not self._seen and data.lstrip()[:1] == b"{":
                    data += await self._response.read(MAX_ANSWER)
                    return self._whole(data)
            except TransportError as error:
                raise transport_fault(error, self._upstream) from None
            self._seen = True
            if not data:
                self._ended()
            elif text := self._texts(data):
                return text
        return ""

    def _texts(self, data: bytes) -> str:
        try:
            block = self._splitter.feed(data)
        except EventTooLarge:
            self._malformed("an event without an end")
        out: list[str] = []
        for event in events(block):
            if event.data == b"[DONE]":
                self._over = True
            elif event.data:
                out.append(self._text(event.data))
        return "".join(out)

    def _text(self, data: bytes) -> str:
        chunk = whole.decoded(data, self._upstream)
        if isinstance(counted := chunk.get("usage"), dict):
            self.usage = usage_of(counted)
        text = ""
        for choice in chunk.get("choices") or ():
            if not isinstance(choice, dict) or not isinstance(delta := choice.get("delta") or {}, dict):
                self._malformed("a choice that is no object")
            self._finish = choice.get("finish_reason") or self._finish
            text += text_of(delta.get("content")) or ""
        return text

    def _whole(self, data: bytes) -> str:
        """An error dressed as a success, or an upstream that ignored `stream`."""
        answer = whole.decoded(data, self._upstream)
        self._over = True
        choices = answer.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0].get("message"), dict):
            if (found := said(answer)) is not None:
                raise from_event(found, self._upstream)
            self._malformed("an answer without choices")
        if isinstance(counted := answer.get("usage"), dict):
            self.usage = usage_of(counted)
        self._finish = choices[0].get("finish_reason")
        return text_of(choices[0]["message"].get("content")) or ""

    def _ended(self) -> None:
        self._over = True
        if self._finish is None:
            raise UpstreamError(
                Fault.CUT,
                f"The upstream {self._upstream!r} ended its answer before it was complete.",
                accepted=True,
            )

    def _malformed(self, what: str) -> NoReturn:
        raise whole.malformed(self._upstream, what)

    def note(self) -> str:
        return "waiting for the model"

    def close(self) -> None:
        if self._over:
            self._response.release()
        else:
            self._response.close()
