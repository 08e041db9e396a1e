"""Novita's language models: OpenAI's dialect, a `max_tokens` that must be there, and errors that go by `reason`.

The status of a refusal is no guide (an empty wallet is a 403 or a 400): the table below is. Asked for thoughts to be left
out, it is told to part them from the text, so that what is left out is whole.
"""

from typing import Any, ClassVar

import msgspec

from adapters._http import HttpClient, HttpResponse
from adapters.accents import Accented, object_in
from adapters.faults import retry_after_s
from adapters.line import client_of
from adapters.openai_api import failures
from adapters.options import NovitaOptions
from proxy.call import Call, Operation, Target
from proxy.errors import Fault, UpstreamError
from proxy.params import sort_out
from proxy.ports import Caps
from proxy.wire.body import encode
from proxy.wire.chat import ChatRequest

_TRUE = msgspec.Raw(b"true")

CAPS = Caps(
    operations=frozenset({Operation.CHAT}),
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
)

REASONS: dict[str, Fault] = {
    "INVALID_API_KEY": Fault.AUTH,
    "MISSING_API_KEY": Fault.AUTH,
    "FAILED_TO_AUTH": Fault.AUTH,
    "ACCESS_DENY": Fault.AUTH,
    "BILLING_AUTH_FAILED": Fault.AUTH,
    "FEATURE_NOT_ALLOWED": Fault.AUTH,
    "API_NOT_ALLOWED": Fault.AUTH,
    "NEED_REAL_NAME_VERIFY": Fault.AUTH,
    "NOT_ENOUGH_BALANCE": Fault.BALANCE,
    "BILLING_BALANCE_NOT_ENOUGH": Fault.BALANCE,
    "BILLING_FAILED": Fault.BALANCE,
    "MODEL_NOT_FOUND": Fault.MISSING,
    "API_NOT_FOUND": Fault.MISSING,
    "TASK_NOT_FOUND": Fault.MISSING,
    "RATE_LIMIT_EXCEEDED": Fault.RATE_LIMITED,
    "TOKEN_LIMIT_EXCEEDED": Fault.RATE_LIMITED,
    "SERVICE_NOT_AVAILABLE": Fault.OVERLOADED,
    "ILLEGAL_PROMPT": Fault.POLICY,
    "ILLEGAL_IMAGE_CONTENT": Fault.POLICY,
    "IMAGE_FILE_EXCEEDS_MAX_SIZE": Fault.TOO_LARGE,
}
# A status that stands for each fault, for the sentences of the dialect.
_STATUS = {
    Fault.AUTH: 401,
    Fault.BALANCE: 402,
    Fault.MISSING: 404,
    Fault.RATE_LIMITED: 429,
    Fault.OVERLOADED: 503,
    Fault.POLICY: 451,
    Fault.TOO_LARGE: 413,
}


class Novita(Accented):
    """Kind `novita`."""

    kind: ClassVar[str] = "novita"

    def __init__(self, name: str, options: NovitaOptions, client: HttpClient) -> None:
        super().__init__(name, options, client, CAPS)
        self._default_limit = options.default_max_tokens

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

    def _failure(self, response: HttpResponse, said: bytes) -> UpstreamError:
        fault = REASONS.get(str(object_in(said).get("reason")))
        status = _STATUS[fault] if fault else response.status
        error = failures.from_status(status, said, retry_after_s(response), self.name)
        error.upstream_status = response.status
        return error


def build(name: str, options: NovitaOptions) -> Novita:
    """See `adapters.build`. Opens no connection."""
    root = msgspec.structs.replace(options, base_url=options.base_url.rstrip("/") + "/" + options.llm_path.strip("/"))
    return Novita(name, options, client_of(root))
