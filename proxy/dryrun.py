"""What would happen to a call, told without asking anybody: the plan, the parameters per target, tokens, the worst price."""

from typing import Any

from proxy import tokens
from proxy.call import Call, Operation, Target
from proxy.params import sort_out
from proxy.pipeline import House
from proxy.wire.chat import ChatRequest

DEFAULT_OUTPUT = 4096  # tokens, where neither the request nor the model bounds an answer


async def told(call: Call, house: House) -> dict[str, Any]:
    """The answer of `?dry_run=true`. Raises what `resolve` raises."""
    plan = call.plan = house.resolver.plan(call)
    prompt, source = await _prompt_tokens(call)
    output = _most_output(call, prompt)
    pricing = plan.model.pricing
    worst = None
    if pricing is not None and pricing.input_usd is not None and pricing.output_usd is not None:
        worst = round((prompt * pricing.input_usd + output * pricing.output_usd) / 1e6, 9)
    preview = getattr(house.gate, "preview", None)
    return {
        "object": "dry_run",
        "asked": plan.asked,
        "model": plan.model.id,
        "via": plan.via,
        "targets": [_target(target, call, house) for target in plan.targets],
        "venice_parameters": plan.features.venice,
        "tokens": {"prompt": prompt, "source": source, "most_output": output},
        "worst_case_usd": worst,
        "limits": preview(call, prompt, output) if preview is not None else {"would_pass": True, "checked": []},
    }


def _target(target: Target, call: Call, house: House) -> dict[str, Any]:
    card = house.cards[target.upstream]
    done = sort_out(call.fields, card.caps)
    closed_s = house.dispatcher.health.open_for_s(target)
    return {
        "upstream": target.upstream,
        "model": target.model,
        "kind": card.kind,
        "priority": target.priority,
        "ready": closed_s == 0,
        "parameters": done.kept,
        "translated": done.translated,
        "dropped": done.dropped,
    }


async def _prompt_tokens(call: Call) -> tuple[int, Any]:
    if call.operation is Operation.CHAT:
        request: ChatRequest = call.request
        return await tokens.count_messages(request.messages)
    return await tokens.count([call.raw.decode("utf-8", "replace")])


def _most_output(call: Call, prompt: int) -> int:
    limit = getattr(call.request, "limit", None)
    choices = getattr(call.request, "n", None) or 1
    context = call.plan.model.context_tokens if call.plan else None
    room = max(0, context - prompt) if context else None
    most = [value for value in (limit, room) if value is not None]
    return choices * (min(most) if most else DEFAULT_OUTPUT)
