"""A chat → the parameters of an AIME endpoint: only names that it declares, only values within its bounds. Pure.

Bounds are checked here because the server would refuse them anyway, and says so less clearly.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from adapters.prompts import render, turns_of
from adapters.text_chat import TEXT_ONLY_REFUSES
from proxy.call import Call, Operation
from proxy.errors import BadRequest
from proxy.params import STRUCTURAL
from proxy.ports import Caps
from proxy.wire.chat import ChatRequest, Message

Schema = Mapping[str, Mapping[str, Any]]

CAPS = Caps(
    operations=frozenset({Operation.CHAT, Operation.IMAGES, Operation.SPEECH}),
    forwards=frozenset({"temperature", "top_p", "top_k"}),
    translates={"max_tokens": "max_gen_tokens", "max_completion_tokens": "max_gen_tokens"},
    refuses=TEXT_ONLY_REFUSES,
    refuses_elsewhere={
        Operation.IMAGES: frozenset({"background"}),
        Operation.SPEECH: frozenset({"instructions"}),
    },
)
# What chat endpoints take, for a server that does not describe them.
USUAL: Schema = {name: {} for name in ("chat_context", "max_gen_tokens", "temperature", "top_p", "top_k")}
_HANDLED = STRUCTURAL | {"max_tokens", "max_completion_tokens", "stop"}


class Inputs(NamedTuple):
    """`given` goes out; `limit` is how many tokens were asked for; `stops` end the text here."""

    given: dict[str, Any]
    limit: int | None
    stops: tuple[str, ...]
    dropped: list[str]


def inputs_of(call: Call, schema: Schema, template: str | None) -> Inputs:
    """Raises UnsupportedParameter and BadRequest, naming what the endpoint does not take."""
    assert call.plan is not None
    request: ChatRequest = call.request
    model = call.plan.model.id
    given, stops = _text(with_system(call), schema, template, model)
    limit = request.limit
    if "max_gen_tokens" in schema and limit is not None:
        most = schema["max_gen_tokens"].get("maximum")
        limit = min(limit, int(most)) if most is not None else limit
        given["max_gen_tokens"] = limit
    dropped: list[str] = []
    for key in call.fields:
        if key in _HANDLED:
            continue
        value = getattr(request, key, None)
        if value is None or key not in CAPS.forwards or key not in schema or (key == "top_k" and value < 1):
            dropped.append(key)
            continue
        within(key, value, schema[key], model)
        given[key] = value
    return Inputs(given, limit, stops, dropped)


def with_system(call: Call) -> list[Message]:
    """The messages, with the system text of a character or of the house in front."""
    request: ChatRequest = call.request
    system = call.plan.features.system if call.plan else None
    return [Message("system", system), *request.messages] if system else request.messages


def _text(
    messages: list[Message], schema: Schema, template: str | None, model: str
) -> tuple[dict[str, Any], tuple[str, ...]]:
    if "chat_context" in schema:
        turns, _ = turns_of(messages, model=model)
        context = [{"role": turn.role, "content": turn.text} for turn in turns]
        return {"chat_context": msgspec.json.encode(context).decode()}, ()
    name = "prompt_input" if "prompt_input" in schema else "prompt"
    prompt = render(messages, template or "plain", model=model, wraps_prompt=template is None)
    return {name: prompt.text}, prompt.stops


def within(name: str, value: float, rule: Mapping[str, Any], model: str) -> None:
    """Raises BadRequest naming the caller's parameter."""
    low, high = rule.get("minimum"), rule.get("maximum")
    if (low is not None and value < low) or (high is not None and value > high):
        span = (
            f"between {low:g} and {high:g}"
            if None not in (low, high)
            else f"at least {low}"
            if high is None
            else f"at most {high}"
        )
        raise BadRequest(f"{name} must be {span} for model {model!r}.", param=name)
