"""A chat request of ours → what the engine is asked. Pure; it knows both shapes and neither process nor socket."""

from typing import Any

import msgspec

from adapters.llama.spec import Generate, Sampling
from proxy.call import Call
from proxy.errors import BadRequest
from proxy.wire.chat import ChatRequest

# What the engine honours. Anything else is dropped and named, but for what would change the answer: that is refused.
FORWARDS = frozenset(
    {
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "min_temp",
        "max_temp",
        "repetition_penalty",
        "frequency_penalty",
        "presence_penalty",
        "seed",
        "stop",
        "stop_token_ids",
        "logit_bias",
        "logprobs",
        "top_logprobs",
        "n",
        "max_tokens",
        "max_completion_tokens",
        "ignore_eos",
        "min_tokens",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "chat_template_kwargs",
        "reasoning_effort",
    }
)
REFUSES = frozenset({"audio", "modalities", "functions", "function_call", "web_search_options"})
MAX_CHOICES = 8


def generate(call: Call) -> Generate:
    """The engine's request for a call. Raises BadRequest naming the field."""
    request: ChatRequest = call.request
    assert call.plan is not None
    features = call.plan.features
    kwargs = dict(request.chat_template_kwargs or {})
    if features.disable_thinking or request.reasoning_effort == "none":
        kwargs["enable_thinking"] = False
    if (request.n or 1) > MAX_CHOICES:
        raise BadRequest(f"'n' must be at most {MAX_CHOICES} for model {call.plan.model.id!r}.", param="n")
    return Generate(
        messages=messages(call),
        tools=_raw(call, "tools"),
        tool_choice=request.tool_choice,
        parallel_tool_calls=request.parallel_tool_calls is not False,
        response_format=request.response_format,
        template_kwargs=kwargs,
        sampling=sampling(call, request),
        n=request.n or 1,
        max_tokens=request.limit,
        tenant=call.principal.id,
    )


def messages(call: Call) -> list[dict[str, Any]]:
    """The messages, with the system text of features in front."""
    decoded: list[dict[str, Any]] = msgspec.json.decode(call.fields["messages"])
    system = call.plan.features.system if call.plan else None
    return [{"role": "system", "content": system}, *decoded] if system else decoded


def _raw(call: Call, key: str) -> Any:
    value = call.fields.get(key)
    return msgspec.json.decode(value) if value is not None else None


def sampling(call: Call, request: ChatRequest) -> Sampling:
    """Sampling fields; what is absent takes the model's default, then OpenAI's."""
    assert call.plan is not None
    defaults = call.plan.model.constraints
    stop = request.stop
    return Sampling(
        temperature=_first(request.temperature, defaults.temperature, 1.0),
        top_p=_first(request.top_p, defaults.top_p, 1.0),
        top_k=max(0, request.top_k or 0),
        min_p=request.min_p or 0.0,
        min_temp=request.min_temp,
        max_temp=request.max_temp,
        repetition_penalty=_first(request.repetition_penalty, None, 1.0) or 1.0,
        frequency_penalty=request.frequency_penalty or 0.0,
        presence_penalty=request.presence_penalty or 0.0,
        seed=request.seed,
        logit_bias=_bias(request.logit_bias or {}),
        logprobs=bool(request.logprobs),
        top_logprobs=request.top_logprobs or 0,
        ignore_eos=bool(request.ignore_eos),
        min_tokens=_min_tokens(call),
        stop=(stop,) if isinstance(stop, str) else tuple(stop or ()),
        stop_token_ids=tuple(request.stop_token_ids or ()),
    )


def _first(given: float | None, default: float | None, otherwise: float) -> float:
    if given is not None:
        return given
    return default if default is not None else otherwise


def _min_tokens(call: Call) -> int:
    value = _raw(call, "min_tokens")
    if value is None:
        return 0
    if not isinstance(value, int) or value < 0:
        raise BadRequest("'min_tokens' must be an integer of at least 0.", param="min_tokens")
    return value


def _bias(bias: dict[str, float]) -> dict[int, float]:
    out: dict[int, float] = {}
    for key, value in bias.items():
        if not key.lstrip("-").isdigit() or int(key) < 0:
            raise BadRequest(f"'logit_bias' has the key {key[:40]!r}; expected a token id.", param="logit_bias")
        if not -100 <= value <= 100:
            raise BadRequest("'logit_bias' values must be between -100 and 100.", param="logit_bias")
        out[int(key)] = value
    return out
