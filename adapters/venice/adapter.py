"""Kind `venice`: Venice itself upstream. Its schema refuses unknown keys, so only those that it has go out.

Feature suffixes in a target's name and every venice_parameter are kept: Venice honours them. Characters of our own are
put in front as a system message; a slug that we do not know goes to Venice. Its balance is never told to a caller.
"""

from collections.abc import AsyncIterable
from typing import Any, ClassVar
from urllib.parse import urlencode

import msgspec

from adapters._http import HttpClient, HttpResponse, TransportError
from adapters.accents import Accented, named, object_in
from adapters.faults import transport_fault
from adapters.line import client_of
from adapters.openai_api import failures, whole
from adapters.openai_api.adapter import MAX_ANSWER
from adapters.openai_api.other import Others
from adapters.options import VeniceOptions
from adapters.replies import Stream, Whole
from adapters.venice.pictures import Pictures
from adapters.venice.said import passed_on, wait_s
from adapters.venice.sounds import HANDLED, KEPT, speak
from proxy.call import Call, Operation, Target
from proxy.errors import Fault, UpstreamError
from proxy.params import Sorted, sort_out
from proxy.ports import Caps, Reply
from proxy.wire.body import encode
from proxy.wire.chat import ChatRequest

_TRUE = msgspec.Raw(b"true")

CAPS = Caps(
    operations=frozenset(
        {
            *(Operation.CHAT, Operation.EMBEDDINGS, Operation.SPEECH),
            *(Operation.IMAGES, Operation.IMAGE_EDIT, Operation.UPSCALE),
        }
    ),
    forwards=frozenset(
        {
            "frequency_penalty",
            "logprobs",
            "max_completion_tokens",
            "max_temp",
            "max_tokens",
            "min_p",
            "min_temp",
            "n",
            "parallel_tool_calls",
            "presence_penalty",
            "repetition_penalty",
            "response_format",
            "seed",
            "stop",
            "stop_token_ids",
            "temperature",
            "tool_choice",
            "tools",
            "top_k",
            "top_logprobs",
            "top_p",
        }
    ),
    refuses=frozenset({"functions", "function_call", "audio", "web_search_options"}),
    venice=True,
    refuses_elsewhere={Operation.IMAGE_EDIT: frozenset({"mask"}), Operation.SPEECH: frozenset({"instructions"})},
)
_EMBEDDINGS = Caps(operations=frozenset({Operation.EMBEDDINGS}), forwards=frozenset({"dimensions", "encoding_format"}))
# What it lists besides models: name → path.
_SHELVES = {
    "traits": "/models/traits",
    "mappings": "/models/compatibility_mapping",
    "styles": "/image/styles",
    "characters": "/characters",
}


class Venice(Accented):
    """Kind `venice`."""

    kind: ClassVar[str] = "venice"

    def __init__(self, name: str, options: VeniceOptions, client: HttpClient) -> None:
        super().__init__(name, options, client, CAPS)
        pictures = Pictures(name, self._send)
        self._served = {
            Operation.EMBEDDINGS: self._embed,
            Operation.SPEECH: self._speak,
            Operation.IMAGES: pictures.draw,
            Operation.IMAGE_EDIT: pictures.edit,
            Operation.UPSCALE: pictures.enlarge,
        }

    async def open(self, call: Call, target: Target) -> Reply:
        """See `Adapter.open`."""
        if (serve := self._served.get(call.operation)) is not None:
            return await serve(call, target)
        return await super().open(call, target)

    def preview(self, call: Call, target: Target) -> Sorted:
        """See `Previews`."""
        if call.operation is Operation.EMBEDDINGS:
            return sort_out(call.fields, _EMBEDDINGS)
        if call.operation is Operation.SPEECH:
            return named(call.fields, KEPT | {"voice"}, HANDLED)
        if call.operation in self._served:
            return Pictures.preview(call)
        return super().preview(call, target)

    async def _embed(self, call: Call, target: Target) -> Reply:
        seen: list[HttpResponse] = []

        async def send(
            method: str, path: str, headers: list[tuple[str, str]], body: bytes | AsyncIterable[bytes]
        ) -> HttpResponse:
            seen.append(await self._send(method, path, headers, body))
            return seen[-1]

        reply = await Others(self.name, self.options, _EMBEDDINGS, send).open(call, target)
        reply.headers = passed_on(seen[-1].headers, call.dialect)
        return reply

    async def _speak(self, call: Call, target: Target) -> Stream:
        return await speak(call, target, self._send, self.name)

    def _whole(self, call: Call, response: HttpResponse, body: bytes) -> Whole:
        reply = super()._whole(call, response, body)
        reply.headers += passed_on(response.headers, call.dialect)
        return reply

    async def _stream(self, call: Call, response: HttpResponse) -> Reply:
        reply = await super()._stream(call, response)
        reply.headers += passed_on(response.headers, call.dialect)
        return reply

    # ── what operators ask ───────────────────────────────────────────────────────────────────────────────────────────

    async def probe(self, target: Target | None = None) -> str:
        names = [str(row["id"]) for row in await self.models()]
        if target is not None and target.model.partition(":")[0] not in names:
            return f"reachable, but it does not list {target.model!r} among its {len(names)} models"
        return f"reachable, {len(names)} models"

    async def models(self, search: str = "") -> list[dict[str, object]]:
        """Of all types."""
        rows = (await self._listed_at("/models", "type=all")).get("data")
        named = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
        return [row for row in named if search.lower() in str(row.get("id", "")).lower()]

    @property
    def shelves(self) -> tuple[str, ...]:
        return tuple(_SHELVES)

    async def shelf(self, name: str, of: str = "") -> list[dict[str, object]]:
        """See `HasShelves`; traits and mappings are a type's, which `of` names (text)."""
        by_type = name in ("traits", "mappings")
        rows = (await self._listed_at(_SHELVES[name], urlencode({"type": of or "text"}) if by_type else "")).get("data")
        if isinstance(rows, dict):
            return [{"id": key, "model": value} for key, value in rows.items()]
        listed = rows if isinstance(rows, list) else []
        return [_character(row) if isinstance(row, dict) else {"id": row} for row in listed]

    async def balance(self) -> str:
        """See `KnowsBalance`; it takes an ADMIN key."""
        said: Any = (await self._listed_at("/api_keys/rate_limits")).get("data")
        left = said.get("balances") if isinstance(said, dict) else None
        amounts = {key: value for key, value in (left or {}).items() if isinstance(value, (int, float)) and value > 0}
        return ", ".join(f"{value:.2f} {key}" for key, value in amounts.items()) or "0 USD"

    async def _listed_at(self, path: str, query: str = "") -> dict[str, Any]:
        response = await self._send("GET", f"{path}?{query}" if query else path, [], b"")
        try:
            return whole.decoded(await response.read(MAX_ANSWER), self.name)
        except TransportError as error:
            raise transport_fault(error, self.name) from None
        finally:
            response.close()

    # ── chats ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _body(self, call: Call, target: Target) -> bytes:
        request: ChatRequest = call.request
        done = sort_out(call.fields, self.caps)
        kept: dict[str, Any] = done.kept
        call.dropped = done.dropped
        # Venice takes neither a seed below 1 nor a top_k below 0: both ask for nothing that leaving them out does not give.
        for key, least in (("seed", 1), ("top_k", 0)):
            if key in kept and getattr(request, key) < least:
                del kept[key]
                call.dropped.append(key)
        if request.tools:
            kept["tools"] = [_tool(tool) for tool in msgspec.json.decode(call.fields["tools"])]
        if isinstance(request.stop, list) and not request.stop:
            kept.pop("stop", None)
        if request.response_format == {"type": "text"}:
            kept.pop("response_format", None)
        out: dict[str, Any] = {"model": target.model, "messages": self._messages(call), **kept}
        if extras := _extras(call):
            out["venice_parameters"] = extras
        if call.stream:
            out |= {"stream": _TRUE, "stream_options": {"include_usage": True}}
        return encode(out)

    def _messages(self, call: Call) -> Any:
        """As they came, but that an assistant's content must be there, null where tool calls stand for it."""
        messages = super()._messages(call)
        request: ChatRequest = call.request
        if all(message.role != "assistant" or message.content is not None for message in request.messages):
            return messages
        rows = msgspec.json.decode(messages) if isinstance(messages, msgspec.Raw) else messages
        return [{"content": None, **row} if row.get("role") == "assistant" else row for row in rows]

    def _failure(self, response: HttpResponse, said: bytes) -> UpstreamError:
        """Venice's `details` say which field it means; the sentence beside them only that one is wrong."""
        error = super()._failure(response, said)
        if error.retry_after_s is None and error.fault is Fault.RATE_LIMITED:
            error.retry_after_s = wait_s(response.headers)
        if error.fault is Fault.REFUSED and (found := _first_detail(object_in(said).get("details"))):
            param, text = found
            worded = failures.Said(f"Invalid request: {param!r}: {text}", param=param)
            return failures.from_status(
                response.status, encode({"error": msgspec.to_builtins(worded)}), error.retry_after_s, self.name
            )
        return error


def _character(row: dict[str, Any]) -> dict[str, object]:
    return {"id": row.get("slug"), "name": row.get("name"), "adult": row.get("adult"), "tags": row.get("tags")}


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    """Venice's function objects are closed: `strict` is OpenAI's alone."""
    function = tool.get("function")
    if not isinstance(function, dict) or "strict" not in function:
        return tool
    return {**tool, "function": {key: value for key, value in function.items() if key != "strict"}}


def _extras(call: Call) -> dict[str, Any]:
    """The venice_parameters that were asked for, wherever; a character that is ours is spoken already."""
    if call.plan is None:
        return {}
    asked = msgspec.to_builtins(call.plan.features.venice)
    if call.plan.features.foreign_character is None:
        asked.pop("character_slug", None)
    return {key: value for key, value in asked.items() if value is not None}


def _first_detail(details: Any, path: str = "") -> tuple[str, str] | None:
    """The first field of a tree of `_errors` that has one, and what it says."""
    if not isinstance(details, dict):
        return None
    texts = details.get("_errors")
    if path and isinstance(texts, list) and texts:
        return path, str(texts[0])
    for key, inner in details.items():
        if key != "_errors" and (found := _first_detail(inner, f"{path}.{key}" if path else key)):
            return found
    return None


def build(name: str, options: VeniceOptions) -> Venice:
    """See `adapters.build`. Opens no connection."""
    return Venice(name, options, client_of(options))
