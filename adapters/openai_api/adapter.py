"""One configured upstream of kind `openai`: the body out (re-encoded only where it must change), the answer in.

It owns the dialect's paths, headers and switches. It knows nothing of keys of callers, budgets, retries or routes.
"""

from collections.abc import AsyncIterable, Callable
from typing import Any, ClassVar

import msgspec

from adapters._http import HttpClient, HttpResponse, TransportError
from adapters.faults import retry_after_s, transport_fault
from adapters.line import client_of
from adapters.openai_api import failures, whole
from adapters.openai_api.chat_stream import ChatStream
from adapters.openai_api.habits import Habits
from adapters.openai_api.other import OPERATIONS, Others
from adapters.options import OpenAIOptions
from adapters.replies import Stream, Whole
from proxy.call import Call, Ending, Operation, Target, Usage
from proxy.errors import UpstreamError
from proxy.lane import Lane
from proxy.params import Sorted, sort_out
from proxy.ports import Caps, Reply
from proxy.wire.body import encode
from proxy.wire.chat import ChatRequest

MAX_ANSWER = 64 << 20  # bytes of an answer that is not streamed
MAX_ERROR = 1 << 20
_TRUE = msgspec.Raw(b"true")
_SNIFF = (b"data:", b":", b"event:", b"id:", b"retry:", b"error:", b"\xef\xbb\xbf", b"\n", b"\r")

CAPS = Caps(operations=frozenset({Operation.CHAT, *OPERATIONS}), open_ended=True)
# With Venice's image/upscale beside OpenAI's routes.
UPSCALING = msgspec.structs.replace(CAPS, operations=CAPS.operations | {Operation.UPSCALE})


class OpenAI:
    """Kind `openai`."""

    kind: ClassVar[str] = "openai"
    chats = "/chat/completions"  # where chats go, behind the base_url

    def __init__(self, name: str, options: OpenAIOptions, client: HttpClient) -> None:
        self.name = name
        self.options = options
        self.caps: Caps = UPSCALING if options.upscales else CAPS
        self._client = client
        self._habits = Habits()
        self._others = Others(name, options, self.caps, self._send)

    async def open(self, call: Call, target: Target) -> Reply:
        """See `Adapter.open`."""
        if call.operation is not Operation.CHAT:
            return await self._others.open(call, target)
        body = self._body(call, target)
        headers = [("content-type", "application/json"), ("x-request-id", call.id)]
        if call.stream:
            headers.append(("accept", "text/event-stream"))
        try:
            response = await self._client.send("POST", self.chats, headers=headers, content=body)
        except TransportError as error:
            raise transport_fault(error, self.name) from None
        if response.status >= 300:
            raise await self._refusal(response)
        try:
            if call.stream:
                return await self._stream(call, response)
            here = response.at_hand()  # what is buffered is never longer than an answer may be
            answer = here if here is not None else await response.read(MAX_ANSWER)
            response.close()
            return self._whole(call, response, answer)
        except TransportError as error:
            response.close()
            raise transport_fault(error, self.name) from None
        except BaseException:
            response.close()
            raise

    async def probe(self, target: Target | None = None) -> str:
        response = await self._send("GET", "/models", [], b"")
        try:
            names = [str(row.get("id")) for row in await self._listed(response)]
        finally:
            response.close()
        if target is not None and names and target.model not in names:
            return f"reachable, but it does not list {target.model!r} among its {len(names)} models"
        return f"reachable, {len(names)} models"

    async def models(self, search: str = "") -> list[dict[str, object]]:
        response = await self._send("GET", "/models", [], b"")
        try:
            rows = await self._listed(response)
        finally:
            response.close()
        return [row for row in rows if search.lower() in str(row.get("id", "")).lower()]

    def preview(self, call: Call, target: Target) -> Sorted:
        """See `proxy.ports.Previews`."""
        if call.operation in OPERATIONS:
            return self._others.preview(call, target)
        return sort_out(call.fields, self.caps, self.options.drops)

    async def aclose(self) -> None:
        await self._client.aclose()

    # ── out ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _body(self, call: Call, target: Target) -> bytes:
        request: ChatRequest = call.request
        done = sort_out(call.fields, self.caps, self.options.drops)
        call.dropped = done.dropped
        out: dict[str, Any] = {"model": target.model, "messages": self._messages(call), **done.kept}
        if "response_format" in out:
            out["response_format"] = _openai_shape(request.response_format or {}) or out["response_format"]
        if self.options.max_tokens_field != "as_sent" and request.limit is not None:
            out.pop("max_tokens", None)
            out.pop("max_completion_tokens", None)
            out[self.options.max_tokens_field] = request.limit
        if call.plan and call.plan.features.disable_thinking:
            given = request.chat_template_kwargs or {}
            out["chat_template_kwargs"] = {**given, "enable_thinking": False}
        if call.stream:
            out["stream"] = _TRUE
            if self.options.stream_usage:
                out["stream_options"] = self._stream_options(call)
        return encode(out)

    def _messages(self, call: Call) -> Any:
        """The messages as they came, unless something goes in front or a role must be renamed."""
        raw = call.fields["messages"]
        system = call.plan.features.system if call.plan else None
        rename = not self.options.developer_role and b'"developer"' in bytes(raw)
        if not system and not rename:
            return raw
        messages = msgspec.json.decode(raw)
        if rename:
            for message in messages:
                if message.get("role") == "developer":
                    message["role"] = "system"
        return [{"role": "system", "content": system}, *messages] if system else messages

    @staticmethod
    def _stream_options(call: Call) -> dict[str, Any]:
        given = call.fields.get("stream_options")
        options = msgspec.json.decode(given) if given is not None else {}
        return {**options, "include_usage": True}

    async def _send(
        self, method: str, path: str, headers: list[tuple[str, str]], body: bytes | AsyncIterable[bytes]
    ) -> HttpResponse:
        """The response whose status is good; its body is still to come."""
        try:
            response = await self._client.send(method, path, headers=headers, content=body)
        except TransportError as error:
            raise transport_fault(error, self.name) from None
        if response.status < 300:
            return response
        raise await self._refusal(response)

    async def _refusal(self, response: HttpResponse) -> UpstreamError:
        """What a response says whose status is not good. Raises UpstreamError if it cannot be read."""
        try:
            said = await response.read(MAX_ERROR)
        except TransportError as error:
            raise transport_fault(error, self.name) from None
        finally:
            response.close()
        return failures.from_status(response.status, said, retry_after_s(response), self.name)

    # ── in ───────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _whole(self, call: Call, response: HttpResponse, body: bytes) -> Whole:
        del response  # for kinds that pass its headers on
        assert call.plan is not None
        if not call.plan.features.strip_thinking and (ready := whole.passed(body, call.plan.model.id)) is not None:
            return Whole(*ready)
        answer = whole.decoded(body, self.name)
        out, usage = self._completion(call, answer)
        try:
            return Whole(encode(out), usage)
        except RecursionError:
            raise whole.malformed(self.name, "an answer that is nested too deeply") from None

    def _completion(self, call: Call, answer: dict[str, Any]) -> tuple[dict[str, Any], Usage | None]:
        assert call.plan is not None
        return whole.completion(
            answer,
            model=call.plan.model.id,
            call_id=call.id,
            upstream=self.name,
            strip_thinking=call.plan.features.strip_thinking,
        )

    async def _stream(self, call: Call, response: HttpResponse) -> Reply:
        assert call.plan is not None
        request: ChatRequest = call.request
        data = await response.chunk()
        if not _is_stream(response, data):
            # An upstream that ignored `stream`, or an error dressed as a success.
            body = data + await response.read(MAX_ANSWER) if data else b""
            response.close()
            out, usage = self._completion(call, whole.decoded(body, self.name))
            return Whole(
                whole.as_stream(out, wants_usage=request.wants_usage), usage, "text/event-stream; charset=utf-8"
            )
        chunks = ChatStream(
            model=call.plan.model.id,
            call_id=call.id,
            upstream=self.name,
            wants_usage=request.wants_usage,
            strip_thinking=call.plan.features.strip_thinking,
            choices=request.n or 1,
            habits=self._habits,
        )
        source = ChunkSource(response, chunks, self.name)
        first = source.take(data) or await source.read()
        return Stream(source, first)

    async def _listed(self, response: HttpResponse) -> list[dict[str, Any]]:
        try:
            body = whole.decoded(await response.read(MAX_ANSWER), self.name)
        except TransportError as error:
            raise transport_fault(error, self.name) from None
        rows = body.get("data")
        return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


class ChunkSource:
    """An open response, read through a ChatStream."""

    __slots__ = ("_chunks", "_response", "_upstream")

    def __init__(self, response: HttpResponse, chunks: ChatStream, upstream: str) -> None:
        self._response = response
        self._chunks = chunks
        self._upstream = upstream

    @property
    def ending(self) -> Ending | None:
        return self._chunks.ending

    @property
    def usage(self) -> Usage | None:
        """The upstream's own count; of a stream that is broken off before it said one, what had come by then."""
        return self._chunks.usage or self._chunks.so_far

    def take(self, data: bytes) -> bytes:
        """Feed what was read; an empty read is the upstream's clean end."""
        return self._chunks.feed(data) if data else self._chunks.end()

    async def read(self) -> bytes:
        """The next frames. Raises UpstreamError when the stream ends before it is finished."""
        while self._chunks.ending is None:
            try:
                data = await self._response.chunk()
            except TransportError as error:
                raise transport_fault(error, self._upstream) from None
            out = self.take(data)
            if out or not data:
                return out
        return b""

    async def flow(self, write: Callable[[bytes], bool], lane: Lane | None = None) -> bytes:
        """# fast path: frames go to `write` in the moment their bytes come. Returns those that it did not take, or the last.

        Raises UpstreamError as `read` does.
        """
        chunks = self._chunks
        chunks.lane = lane
        left = b""
        failure: Exception | None = None

        def sink(data: bytes) -> bool:
            nonlocal left, failure
            try:
                frames = chunks.feed(data)
            except Exception as error:  # noqa: BLE001 - we are in the socket's callback: raised where it is awaited
                failure = error
                return False
            if chunks.ending is None and (not frames or write(frames)):
                if lane is not None:
                    chunks.guide(lane)
                return True
            left = frames
            return False

        try:
            await self._response.flow(sink, lane)
        except TransportError as error:
            raise transport_fault(error, self._upstream) from None
        if failure is not None:
            raise failure
        return left or chunks.end()

    def close(self) -> None:
        """After `[DONE]` the connection may be used again; before, closing it is how the upstream learns to stop."""
        if self._chunks.ending is not None:
            self._response.release()
        else:
            self._response.close()


def _is_stream(response: HttpResponse, data: bytes) -> bool:
    """By what it is, not by what it calls itself: upstreams send SSE as text/plain, and errors as event streams."""
    start = data.lstrip(b" \t")
    if start[:1] in (b"{", b"[", b"<"):
        return False
    return start.startswith(_SNIFF) or "event-stream" in (response.headers.get("content-type") or "")


def _openai_shape(format_: dict[str, Any]) -> dict[str, Any] | None:
    """Venice's bare schema under `json_schema` → OpenAI's `{name, schema}`; None where nothing must change."""
    schema = format_.get("json_schema")
    if format_.get("type") != "json_schema" or not isinstance(schema, dict) or "schema" in schema:
        return None
    return {"type": "json_schema", "json_schema": {"name": "response", "schema": schema}}


def build(name: str, options: OpenAIOptions) -> OpenAI:
    """See `adapters.build`. Opens no connection."""
    return OpenAI(name, options, client_of(options))
