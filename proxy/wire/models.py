"""The model card as Venice and OpenAI have it together: `id, object, created, owned_by` and Venice's `type, model_spec`."""

from typing import Any

from proxy.catalogue import Catalogue, Model
from proxy.config import Measure, ModelType, Pricing

_PICTURES = frozenset({"image", "inpaint", "upscale"})


def card(
    model: Model, *, offline: bool, facts: dict[str, Any] | None = None, beside: Pricing | None = None
) -> dict[str, Any]:
    """One item of `GET models`. `offline`: no target of it can be used now. `facts`: what its engine knows of it.

    Venice tells the prices of making and of enlarging pictures together: `beside` are those of the default model for the
    half that this one does not do.
    """
    return {
        "id": model.id,
        "object": "model",
        "created": model.created,
        "owned_by": model.owned_by,
        "type": model.type,
        "model_spec": _spec(model, offline, facts or {}, beside),
    }


def _spec(model: Model, offline: bool, facts: dict[str, Any], beside: Pricing | None) -> dict[str, Any]:
    spec: dict[str, Any] = {"name": model.name, "offline": offline, "traits": list(model.traits)}
    if model.description:
        spec["description"] = model.description
    if model.beta:
        spec["beta"] = True
    if model.source:
        spec["modelSource"] = model.source
    context = model.context_tokens or facts.get("context_tokens")
    if context:
        spec["availableContextTokens"] = context
    if model.type == "text":
        spec["capabilities"] = _capabilities(model, facts)
    if model.voices:
        spec["voices"] = list(model.voices)
    if constraints := _constraints(model):
        spec["constraints"] = constraints
    if model.pricing is not None and (pricing := _pricing(model.pricing)):
        more = _pricing(beside) if beside is not None and model.type in _PICTURES else {}
        spec["pricing"] = {**{key: more[key] for key in ("generation", "upscale") if key in more}, **pricing}
    if facts:
        spec["engine"] = facts
    return spec


def _capabilities(model: Model, facts: dict[str, Any]) -> dict[str, Any]:
    from_config = model.capabilities
    return {
        "optimizedForCode": bool(from_config and from_config.code),
        "quantization": from_config.quantization if from_config else "not-available",
        "supportsFunctionCalling": bool(from_config and from_config.function_calling),
        "supportsReasoning": bool(from_config and from_config.reasoning),
        "supportsResponseSchema": bool(from_config and from_config.response_schema),
        "supportsVision": bool((from_config and from_config.vision) or facts.get("vision")),
        "supportsWebSearch": bool(from_config and from_config.web_search),
        "supportsLogProbs": bool(from_config and from_config.logprobs),
    }


def _constraints(model: Model) -> dict[str, Any]:
    known = model.constraints
    out: dict[str, Any] = {}
    if model.type == "image":
        steps = known.steps
        out = {
            "promptCharacterLimit": known.prompt_characters or 1500,
            "steps": {"default": steps.default if steps else 20, "max": steps.max if steps else 50},
            "widthHeightDivisor": known.width_height_divisor or 8,
        }
    if known.temperature is not None:
        out["temperature"] = {"default": known.temperature}
    if known.top_p is not None:
        out["top_p"] = {"default": known.top_p}
    return out


def _pricing(pricing: Pricing) -> dict[str, Any]:
    """Dollars, and the units that Venice counts in: a VCU is ten cents, a Diem a dollar."""

    def amount(usd: float) -> dict[str, float]:
        return {"usd": usd, "vcu": round(usd * 10, 9), "diem": usd}

    out: dict[str, Any] = {}
    if pricing.input_usd is not None:
        out["input"] = amount(pricing.input_usd)
    if pricing.output_usd is not None:
        out["output"] = amount(pricing.output_usd)
    if pricing.characters_usd is not None:
        out["input"] = amount(pricing.characters_usd)
    if pricing.generation_usd is not None:
        out["generation"] = amount(pricing.generation_usd)
    upscale = {
        name: amount(usd)
        for name, usd in (("2x", pricing.upscale_2x_usd), ("4x", pricing.upscale_4x_usd))
        if usd is not None
    }
    if upscale:
        out["upscale"] = upscale
    return out


def traits(catalogue: Catalogue, type_: ModelType, current: dict[str, str]) -> dict[str, str]:
    """Trait → model id; of measured traits whoever holds them now (`current`)."""
    return {
        trait: current[trait] if isinstance(value, Measure) else value
        for trait, value in catalogue.traits[type_].items()
        if not isinstance(value, Measure) or trait in current
    }
