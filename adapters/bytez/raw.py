"""A chat by a model of v1: the messages as one prompt, the answer as raw UTF-8 text without any framing.

It owns the text out of the bytes; it refuses to know loading. Invariants: a character that was cut by a read arrives whole;
an error in JSON's clothes with status 200 is an error, not a text; a body that breaks off is an error, one that ends is
an end.
"""

import codecs
from typing import Any, Final

import msgspec

from adapters._http import HttpResponse, TransportError
from adapters.bytez.api import MAX_ANSWER, output_of
from adapters.faults import transport_fault
from adapters.openai_api import whole
from adapters.openai_api.failures import from_event, said
from adapters.prompts import Prompt, render
from adapters.text_chat import TEXT_ONLY_REFUSES
from proxy.call import Call, Operation, Usage
from proxy.errors import Fault, UpstreamError
from proxy.ports import Caps
from proxy.wire.chat import ChatRequest, Message

HELD: Final = 1024  # bytes that may turn out to be an error
CAPS = Caps(
    operations=frozenset({Operation.CHAT, Operation.EMBEDDINGS, Operation.IMAGES, Operation.SPEECH}),
    forwards=frozenset({"temperature", "top_p", "top_k", "repetition_penalty"}),
    translates={"max_tokens": "max_new_tokens", "max_completion_tokens": "max_new_tokens"},
    refuses=TEXT_ONLY_REFUSES,
    refuses_elsewhere={
        Operation.EMBEDDINGS: frozenset({"dimensions"}),
        Operation.IMAGES: frozenset({"background"}),
        Operation.SPEECH: frozenset({"instructions"}),
    },
)
_HANDLED: Final = frozenset(
    {
        "model",
        "messages",
        "stream",
        "stream_options",
        "venice_parameters",
        "max_tokens",
        "max_completion_tokens",
        "stop",
    }
)


def prompt_of(call: Call, template: str | None) -> Prompt:
    """The messages, with the system text of a character or of the house in front, as one prompt."""
    assert call.plan is not None
    request: ChatRequest = call.request
    system = call.plan.features.system
    messages = [Message("system", system), *request.messages] if system else request.messages
    return render(messages, template or "plain", model=call.plan.model.id, wraps_prompt=template is None)


def params_of(call: Call) -> tuple[dict[str, Any], list[str]]:
    """What the model's generation settings are called, and what of the request has no name there."""
    request: ChatRequest = call.request
    params: dict[str, Any] = {}
    dropped: list[str] = []
    for key in call.fields:
        value = getattr(request, key, None)
        if key in _HANDLED:
            continue
        if key not in CAPS.forwards or value is None or (key == "top_k" and value < 1):
            dropped.append(key)
        else:
            params[key] = value
    if params.get("temperature") == 0:  # a strictly positive number is asked for; this is what 0 means
        del params["temperature"]
        params["do_sample"] = False
    if request.limit is not None:
        params["max_new_tokens"] = request.limit
    return params, dropped


class RawTexts:
    """The text of an open response. See `adapters.text_chat.Texts`."""

    def __init__(self, response: HttpResponse, upstream: str) -> None:
        self._response = response
        self._upstream = upstream
        self._decode = codecs.getincrementaldecoder("utf-8")("strict")
        self._begun = self._over = False
        self.usage: Usage | None = None
        self.full: bool | None = None

    async def read(self) -> str:
        if not self._begun and (self._response.header("content-type") or "").startswith("application/json"):
            self._begun = self._over = True
            return await self._whole()
        while not self._over:
            data = await self._beginning() if not self._begun else await self._chunk()
            self._begun = True
            self._over = not data
            if text := self._text(data):
                return text
        return ""

    async def _whole(self) -> str:
        """An answer that calls itself JSON: an error, or a text that came whole although a stream was asked for."""
        try:
            body = await self._response.read(MAX_ANSWER)
        except TransportError as error:
            raise transport_fault(error, self._upstream) from None
        output = output_of(whole.decoded(body, self._upstream), self._upstream)
        text = output.get("generated_text") if isinstance(output, dict) else output
        if not isinstance(text, str):
            raise whole.malformed(self._upstream, "an answer without a text")
        return text

    async def _chunk(self) -> bytes:
        try:
            return await self._response.chunk()
        except TransportError as error:
            raise transport_fault(error, self._upstream) from None

    async def _beginning(self) -> bytes:
        """The first bytes; while they could be an error's object, those that follow as well."""
        data = await self._chunk()
        while data.lstrip()[:1] in (b"", b"{") and len(data) <= HELD:
            if not (more := await self._chunk()):
                _no_error(data, self._upstream)
                break
            data += more
        return data

    def _text(self, data: bytes) -> str:
        try:
            return self._decode.decode(data, final=not data)
        except UnicodeDecodeError:
            if data:
                raise whole.malformed(self._upstream, "a text that is not UTF-8") from None
            text = f"The upstream {self._upstream!r} ended its answer before it was complete."
            raise UpstreamError(Fault.CUT, text, accepted=True) from None

    def note(self) -> str:
        return "waiting for the model"

    def close(self) -> None:
        self._response.close()


def _no_error(data: bytes, upstream: str) -> None:
    try:
        body = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    if isinstance(body, dict) and body.get("error") is not None and (found := said(body)) is not None:
        raise from_event(found, upstream)
