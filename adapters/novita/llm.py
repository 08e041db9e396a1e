"""Novita's language models: OpenAI's dialect, a `max_tokens` that must be there, and errors that go by `reason`.

The status of a refusal is no guide (an empty wallet is a 403 or a 400): `reasons` is. Asked for thoughts to be left
out, it is told to part them from the text, so that what is left out is whole.
"""

from collections.abc import AsyncIterable
from typing import Any

import msgspec

from adapters._http import HttpClient, HttpResponse
from adapters.accents import Accented
from adapters.faults import retry_after_s
from adapters.novita.reasons import refusal
from adapters.options import NovitaOptions
from proxy.call import Call, Operation, Target
from proxy.errors import UpstreamError
from proxy.params import sort_out
from proxy.ports import Caps
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
            "enable_thinking",
            "frequency_penalty",
            "logit_bias",
            "logprobs",
            "max_tokens",
            "min_p",
            "n",
            "presence_penalty",
            "repetition_penalty",
            "response_format",
            "seed",
            "separate_reasoning",
            "stop",
            "temperature",
            "tool_choice",
            "tools",
            "top_k",
            "top_logprobs",
            "top_p",
        }
    ),
    translates={"max_completion_tokens": "max_tokens"},
    refuses=frozenset({"functions", "function_call", "audio", "web_search_options"}),
    refuses_elsewhere={
        Operation.EMBEDDINGS: frozenset({"dimensions"}),
        Operation.IMAGES: frozenset({"background"}),
        Operation.SPEECH: frozenset({"instructions"}),
    },
)


class Llm(Accented):
    """The chats of kind `novita`."""

    def __init__(self, name: str, options: NovitaOptions, client: HttpClient) -> None:
        super().__init__(name, options, client, CAPS)
        self._default_limit = options.default_max_tokens
        self._prefix = "/" + options.llm_path.strip("/")
        self.chats = f"{self._prefix}/chat/completions"

    def _body(self, call: Call, target: Target) -> bytes:
        request: ChatRequest = call.request
        done = sort_out(call.fields, self.caps)
        kept: dict[str, Any] = done.kept
        call.dropped = done.dropped
        kept["max_tokens"] = self._default_limit if request.limit is None else request.limit
        if request.top_k is not None and request.top_k < 1:  # 0 and -1 mean "no such limit", which is its default
            del kept["top_k"]
            call.dropped.append("top_k")
        out: dict[str, Any] = {"model": target.model, "messages": self._messages(call), **kept}
        if call.plan and call.plan.features.disable_thinking:
            out["enable_thinking"] = False
        if call.plan and call.plan.features.strip_thinking:
            out["separate_reasoning"] = True
        if call.stream:
            out |= {"stream": _TRUE, "stream_options": {"include_usage": True}}
        return encode(out)

    async def _send(
        self, method: str, path: str, headers: list[tuple[str, str]], body: bytes | AsyncIterable[bytes]
    ) -> HttpResponse:
        """The dialect's routes lie under a prefix, everything else beside it."""
        return await super()._send(method, self._prefix + path, headers, body)

    def _failure(self, response: HttpResponse, said: bytes) -> UpstreamError:
        return refusal(response.status, said, retry_after_s(response), self.name)
