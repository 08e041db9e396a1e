"""An answer that is not streamed, made what the contract says; and one that came whole to a caller who asked for a stream.

Most answers need nothing, or another model's name: they pass as bytes, once a typed decoding has found them regular. All
others are made anew from the decoded object, and errors that hide in a 200 are found.
"""

from typing import Annotated, Any, Literal

import msgspec

from adapters.openai_api.chat_stream import moment, usage_of
from adapters.openai_api.choices import Misshapen, ToolCalls, finish_reason, text_of
from adapters.openai_api.failures import from_event, said
from adapters.text_filters import Thinking, ThinkingFilter
from proxy.call import Usage
from proxy.errors import Fault, UpstreamError
from proxy.stream import DONE, frame
from proxy.wire.body import encode

Count = Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)]


class _Message(msgspec.Struct):
    role: Literal["assistant"]
    content: str
    reasoning_content: str | msgspec.UnsetType = msgspec.UNSET
    reasoning: msgspec.UnsetType = msgspec.UNSET
    tool_calls: msgspec.UnsetType = msgspec.UNSET


class _Choice(msgspec.Struct):
    index: int
    message: _Message
    logprobs: msgspec.Raw
    finish_reason: Literal["stop", "length", "content_filter"]
    delta: msgspec.UnsetType = msgspec.UNSET


class _Details(msgspec.Struct):
    cached_tokens: Count = 0
    reasoning_tokens: Count = 0


class _Usage(msgspec.Struct):
    prompt_tokens: Count
    completion_tokens: Count
    total_tokens: Count
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None


class _Regular(msgspec.Struct):
    """A completion that is already what the contract says, but for the model's name. Keys that must go are UNSET here."""

    id: Annotated[str, msgspec.Meta(min_length=1)]
    object: Literal["chat.completion"]
    created: Count
    model: str
    choices: Annotated[list[_Choice], msgspec.Meta(min_length=1)]
    usage: _Usage
    error: msgspec.UnsetType = msgspec.UNSET
    system_fingerprint: str | msgspec.UnsetType = msgspec.UNSET
    service_tier: str | msgspec.UnsetType = msgspec.UNSET


_regular = msgspec.json.Decoder(_Regular).decode
_MODEL = (b'"model":"', b'"model": "')


def passed(body: bytes, model: str) -> tuple[bytes, Usage] | None:
    """# fast path: the bytes of a completion in which at most the model's name must change, and its usage; None for others."""
    try:
        answer = _regular(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if answer.model != model:
        if body.count(b'"model"') != 1:  # inside a string its quotes would be escaped: this is the key
            return None
        for key in _MODEL:
            named = key + answer.model.encode() + b'"'
            if named in body:
                body = body.replace(named, key + encode(model)[1:], 1)
                break
        else:
            return None
    usage, prompt, completion = answer.usage, answer.usage.prompt_tokens_details, answer.usage.completion_tokens_details
    return body, Usage(
        usage.prompt_tokens,
        usage.completion_tokens,
        prompt.cached_tokens if prompt else 0,
        completion.reasoning_tokens if completion else 0,
    )


def decoded(body: bytes, upstream: str) -> dict[str, Any]:
    """The body as an object. Raises UpstreamError if it is none, or an error with status 200."""
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise malformed(upstream, "an answer that is not JSON") from None
    if not isinstance(answer, dict):
        raise malformed(upstream, "an answer that is no object")
    if answer.get("error") is None:
        answer.pop("error", None)
    if (found := said(answer)) is not None:
        raise from_event(found, upstream)
    return answer


def malformed(upstream: str, what: str) -> UpstreamError:
    return UpstreamError(Fault.MALFORMED, f"The upstream {upstream!r} sent {what}.", accepted=True)


def completion(
    answer: dict[str, Any], *, model: str, call_id: str, upstream: str, strip_thinking: bool
) -> tuple[dict[str, Any], Usage | None]:
    """An upstream's chat completion → ours, and its usage. Raises UpstreamError when there is no choice in it."""
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices or not all(isinstance(choice, dict) for choice in choices):
        raise malformed(upstream, "an answer without choices")
    out = {k: v for k, v in answer.items() if v is not None or k not in ("system_fingerprint", "service_tier", "usage")}
    out["id"] = answer.get("id") if isinstance(answer.get("id"), str) and answer["id"] else f"chatcmpl-{call_id}"
    out["object"] = "chat.completion"
    out["created"] = moment(answer.get("created"))
    out["model"] = model
    try:
        out["choices"] = [_choice(raw, i, upstream, strip_thinking) for i, raw in enumerate(choices)]
    except Misshapen as error:
        raise malformed(upstream, f"an answer with {error}") from None
    usage = answer.get("usage")
    return out, usage_of(usage) if isinstance(usage, dict) else None


def _choice(raw: dict[str, Any], position: int, upstream: str, strip_thinking: bool) -> dict[str, Any]:
    message = raw.get("message")
    if not isinstance(message, dict):
        raise malformed(upstream, "a choice without a message")
    if raw.get("finish_reason") == "error":
        raise from_event(said(raw) or said({"error": "the model failed"}), upstream)  # type: ignore[arg-type]
    out = {k: v for k, v in message.items() if k not in ("reasoning", "tool_calls")}
    out["role"] = "assistant"
    content = text_of(message.get("content"))
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    if strip_thinking:
        reasoning = None
        out.pop("reasoning_content", None)
        content = _stripped(content) if content is not None else None
    out["content"] = content
    if isinstance(reasoning, str):
        out["reasoning_content"] = reasoning
    calls = _tool_calls(message.get("tool_calls"))
    if calls:
        out["tool_calls"] = calls
    index = raw.get("index")
    return {
        **{k: v for k, v in raw.items() if k not in ("message", "delta")},
        "index": index if isinstance(index, int) else position,
        "message": out,
        "logprobs": raw.get("logprobs"),
        "finish_reason": finish_reason(raw.get("finish_reason") or "stop", bool(calls)),
    }


def _stripped(text: str) -> str:
    thinking = ThinkingFilter(Thinking.STRIP)
    return "".join(piece.text for piece in (*thinking.feed(text), *thinking.close()))


def _tool_calls(raw: Any) -> list[dict[str, Any]]:
    if raw and not isinstance(raw, list):
        raise Misshapen("tool calls that are no list")
    entries = [{**entry, "index": None} for entry in raw or () if isinstance(entry, dict)]
    calls = [call for entry in entries for call in ToolCalls().deltas([entry])]  # each is whole: none continues another
    return [{k: v for k, v in call.items() if k != "index"} for call in calls]


def as_stream(answer: dict[str, Any], *, wants_usage: bool) -> bytes:
    """A whole completion (already ours) → the frames of a stream, for an upstream that ignored `stream`."""
    envelope = {k: answer[k] for k in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
    nothing: dict[str, Any] = {"usage": None} if wants_usage else {}
    out: list[bytes] = []
    for choice in answer["choices"]:
        delta = {k: v for k, v in choice["message"].items() if v is not None}
        if "tool_calls" in delta:
            delta["tool_calls"] = [{"index": i, **call} for i, call in enumerate(delta["tool_calls"])]
        delta.setdefault("content", "")
        base = {"index": choice["index"], "logprobs": choice["logprobs"], "finish_reason": None}
        out.append(frame({**envelope, "choices": [{**base, "delta": delta}], **nothing}))
        last = {"index": choice["index"], "delta": {}, "logprobs": None, "finish_reason": choice["finish_reason"]}
        out.append(frame({**envelope, "choices": [last], **nothing}))
    if wants_usage and answer.get("usage"):
        out.append(frame({**envelope, "choices": [], "usage": answer["usage"]}))
    out.append(DONE)
    return b"".join(out)
