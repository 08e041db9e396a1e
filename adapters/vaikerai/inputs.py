"""A chat → the inputs of a model: its schema decides where the text goes, how parameters are called and what they may be.

There is no schema that models share, so nothing is sent that this one does not declare. Pure.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from adapters.prompts import render, turns_of
from adapters.text_chat import TEXT_ONLY_REFUSES, stops_of
from proxy.call import Call, Operation
from proxy.errors import BadRequest
from proxy.params import STRUCTURAL
from proxy.ports import Caps
from proxy.wire.chat import ChatRequest, Message

Schema = Mapping[str, Mapping[str, Any]]

LIMITS = ("max_new_tokens", "max_tokens", "max_completion_tokens", "max_length")
SAME = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "seed",
    "frequency_penalty",
    "presence_penalty",
    "repetition_penalty",
)
CAPS = Caps(
    operations=frozenset({Operation.CHAT}),
    forwards=frozenset(SAME),
    translates={"max_tokens": "max_new_tokens", "max_completion_tokens": "max_new_tokens", "stop": "stop_sequences"},
    refuses=TEXT_ONLY_REFUSES,
)
DEFAULT_LIMIT = 1024  # models' own defaults are often 128
_HANDLED = STRUCTURAL | {"max_tokens", "max_completion_tokens", "stop"}


class Inputs(NamedTuple):
    """`given` goes out; `limit` is how many tokens were asked for; `stops` end the text here as well."""

    given: dict[str, Any]
    limit: int | None
    stops: tuple[str, ...]
    dropped: list[str]


def inputs_of(call: Call, schema: Schema, template: str | None) -> Inputs:
    """Raises UnsupportedParameter and BadRequest, naming what the model does not take."""
    assert call.plan is not None
    request: ChatRequest = call.request
    model = call.plan.model.id
    given, stops = _text(call, schema, template, model)
    limit = None
    if (name := next((name for name in LIMITS if name in schema), None)) is not None:
        most = schema[name].get("maximum")
        limit = DEFAULT_LIMIT if request.limit is None else request.limit
        given[name] = limit = limit if most is None else min(limit, int(most))
    _stop(request, schema, given)
    dropped: list[str] = []
    for key in call.fields:
        if key in _HANDLED:
            continue
        value = getattr(request, key, None)
        if value is None or key not in SAME or key not in schema:
            dropped.append(key)
            continue
        given[key] = _within(key, value, schema[key], model)
    return Inputs(given, limit, stops, dropped)


def _text(call: Call, schema: Schema, template: str | None, model: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    request: ChatRequest = call.request
    system = call.plan.features.system if call.plan else None
    messages = [Message("system", system), *request.messages] if system else request.messages
    if schema.get("messages", {}).get("type") == "array":
        turns, _ = turns_of(messages, model=model)
        return {"messages": [{"role": turn.role, "content": turn.text} for turn in turns]}, ()
    own = "system_prompt" in schema
    prompt = render(messages, template or "plain", model=model, own_system=own, wraps_prompt=template is None)
    given = {"prompt": prompt.text}
    if own and prompt.system is not None:
        given["system_prompt"] = prompt.system
    if template is not None and "prompt_template" in schema:
        given["prompt_template"] = "{prompt}"  # the prompt is written already: the model is not to wrap it again
    return given, prompt.stops


def _stop(request: ChatRequest, schema: Schema, given: dict[str, Any]) -> None:
    """Stops go out where they can, to save work; they are enforced here anyway."""
    stops = stops_of(request)
    if not stops:
        return
    if schema.get("stop", {}).get("type") == "array":
        given["stop"] = stops
    elif "stop_sequences" in schema and not any("," in stop for stop in stops):
        given["stop_sequences"] = ",".join(stops)


def _within(name: str, value: float, rule: Mapping[str, Any], model: str) -> float:
    low, high = rule.get("minimum"), rule.get("maximum")
    if name == "temperature" and value == 0 and low is not None and 0 < low <= 0.01:
        return float(low)  # "as little chance as there is", in this model's terms
    if (low is not None and value < low) or (high is not None and value > high):
        span = f"at least {low}" if high is None else f"at most {high}" if low is None else f"between {low} and {high}"
        raise BadRequest(f"{name} must be {span} for model {model!r}.", param=name)
    return value
