"""What would happen to a call, told without asking anybody: the plan, the parameters per target, tokens, the worst price."""

from typing import Any

from proxy import estimate
from proxy.call import Call, Target
from proxy.params import sort_out
from proxy.pipeline import House
from proxy.ports import Previews


async def told(call: Call, house: House) -> dict[str, Any]:
    """The answer of `?dry_run=true`. Raises what `resolve` raises."""
    plan = call.plan = house.resolver.plan(call)
    prompt, source = await estimate.prompt_tokens(call)
    most = estimate.most(call, prompt)
    worst = house.rules.prices.worst(plan.model.id, most, estimate.unit_of(call))
    preview = getattr(house.gate, "preview", None)
    return {
        "object": "dry_run",
        "asked": plan.asked,
        "model": plan.model.id,
        "via": plan.via,
        "targets": [_target(target, call, house) for target in plan.targets],
        "venice_parameters": plan.features.venice,
        "tokens": {"prompt": prompt, "source": source, "most_output": most.completion_tokens},
        "worst_case_usd": None if worst is None else worst / 1e6,
        "limits": preview(call, prompt) if preview is not None else {"would_pass": True, "checked": []},
    }


def _target(target: Target, call: Call, house: House) -> dict[str, Any]:
    card = house.cards[target.upstream]
    adapter = house.adapters.get(target.upstream)
    done = adapter.preview(call, target) if isinstance(adapter, Previews) else sort_out(call.fields, card.caps)
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
