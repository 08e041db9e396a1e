"""GET models, models/{id}, models/traits (and what explains them), models/compatibility_mapping."""

from typing import Any

from proxy.catalogue import Model
from proxy.config import MODEL_TYPES, Measure, ModelType
from proxy.errors import BadRequest, ModelUnknown, NotFound
from proxy.wire import models as wire
from routes._endpoint import Answer, Desk
from routes._inbound import Inbound

_LISTS = (*MODEL_TYPES, "all", "code")


async def listed(inbound: Inbound, desk: Desk) -> Answer:
    """`type` filters; without it, text, as at Venice. `all` is everything, `code` the text models made for code."""
    type_ = inbound.query().get("type", "text")
    if type_ not in _LISTS:
        raise _wrong_type(type_, _LISTS)
    house = desk.house
    rows = [_card(model, desk) for model in house.catalogue.models.values() if _in_list(model, type_)]
    return Answer({"object": "list", "type": type_, "data": rows})


def _in_list(model: Model, type_: str) -> bool:
    if type_ == "code":
        return model.type == "text" and bool(model.capabilities and model.capabilities.code)
    return type_ in ("all", model.type)


def _card(model: Model, desk: Desk) -> dict[str, Any]:
    house = desk.house
    health = house.dispatcher.health
    offline = all(house.cards[t.upstream].missing or health.open_for_s(t) > 0 for t in model.targets)
    facts: dict[str, Any] = {}
    for target in model.targets:
        describe = getattr(house.adapters.get(target.upstream), "facts", None)
        if describe is not None:
            facts = describe(target) or facts
    other = house.catalogue.traits["image" if model.type == "upscale" else "upscale"].get("default")
    beside = house.catalogue.models[other].pricing if isinstance(other, str) else None
    return wire.card(model, offline=offline, facts=facts, beside=beside)


async def retrieved(inbound: Inbound, desk: Desk) -> Answer:
    """One card. Slashes in the id may come raw or as %2F."""
    id_ = str(inbound.path_params["model_id"]).strip("/")
    model = desk.house.catalogue.models.get(id_)
    if model is None:
        near = desk.house.catalogue.nearest(id_, "text")
        hint = " Did you mean " + ", ".join(repr(n) for n in near) + "?" if near else ""
        raise ModelUnknown(f"The model {id_[:200]!r} does not exist.{hint}", param="model")
    return Answer(_card(model, desk))


async def traits(inbound: Inbound, desk: Desk) -> Answer:
    type_ = _type(inbound)
    house = desk.house
    current: dict[str, str] = {}
    for trait, value in house.catalogue.traits[type_].items():
        if isinstance(value, Measure) and (winner := house.measures.election(type_, trait, value).winner):
            current[trait] = winner
    return Answer({"object": "list", "type": type_, "data": wire.traits(house.catalogue, type_, current)})


async def explained(inbound: Inbound, desk: Desk) -> Answer:
    """`?trait=fastest`: the candidates, their figures, and why each lost."""
    type_ = _type(inbound)
    house = desk.house
    known = house.catalogue.traits[type_]
    trait = inbound.query().get("trait")
    if not trait:
        raise BadRequest("The query parameter 'trait' is missing.", param="trait")
    value = known.get(trait)
    if value is None:
        expected = ", ".join(repr(name) for name in known) or "none is configured"
        raise NotFound(f"There is no trait {trait[:100]!r} of type {type_}; there are: {expected}.", param="trait")
    if isinstance(value, str):
        return Answer(
            {"object": "trait", "trait": trait, "type": type_, "by": "configuration", "winner": value, "candidates": []}
        )
    election = house.measures.election(type_, trait, value)
    return Answer(
        {
            "object": "trait",
            "trait": trait,
            "type": type_,
            "by": election.by,
            "winner": election.winner,
            "candidates": election.candidates,
        }
    )


async def mappings(inbound: Inbound, desk: Desk) -> Answer:
    type_ = _type(inbound)
    return Answer({"object": "list", "type": type_, "data": dict(desk.house.catalogue.mappings[type_])})


def _type(inbound: Inbound) -> ModelType:
    type_ = inbound.query().get("type", "text")
    if type_ not in MODEL_TYPES:
        raise _wrong_type(type_, MODEL_TYPES)
    return type_


def _wrong_type(type_: str, known: tuple[str, ...]) -> BadRequest:
    return BadRequest(f"'type' must be one of {', '.join(known)}; got {type_[:50]!r}.", param="type")
