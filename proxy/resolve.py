"""`resolve`: a model name → a Plan. Pure: it looks names up in a snapshot, orders targets, and calls nobody.

Order: suffix off the end, exact id, trait, compatibility mapping, provider-qualified name, (images) the default; else a
404 with the three nearest names. A target whose upstream is unavailable is left out, one that cannot do the operation
or would have to refuse a parameter too; if none is left, the error says why.
"""

import random
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from proxy.call import Call, Operation, Plan, Target
from proxy.catalogue import TYPE_OF, Catalogue, Model
from proxy.config import Measure, ModelType
from proxy.errors import BadRequest, ModelUnknown, NotSupported, PermissionDenied, Unavailable, UnsupportedParameter
from proxy.features import NONE as NOTHING_ASKED
from proxy.features import Features, features_of, unknown_character
from proxy.ports import Caps
from proxy.traits import Measures


class Card(msgspec.Struct, frozen=True):
    """What resolve needs to know of a configured upstream. `missing` is why it cannot be used, if it cannot."""

    kind: str
    caps: Caps
    missing: str | None = None


def split_suffix(name: str) -> tuple[str, dict[str, Any]]:
    """`default:enable_web_search=on&strip_thinking_response=true` → the name, and the features.

    A part behind the last `:` without `=` belongs to the name (`owner/model:version`). Raises BadRequest on a pair
    without a key or value.
    """
    base, colon, tail = name.rpartition(":")
    if not colon or "=" not in tail:
        return name, {}
    features: dict[str, Any] = {}
    for pair in tail.split("&"):
        key, _, value = pair.partition("=")
        if not key or not value or not base:
            raise BadRequest(f"'model': the suffix {tail!r} is not of the form key=value&key=value.", param="model")
        features[key] = {"true": True, "false": False}.get(value.lower(), value)
    return base, features


class Resolver:
    """Over one snapshot. `chance` gives floats in [0, 1) for weighted shares."""

    def __init__(
        self,
        catalogue: Catalogue,
        cards: Mapping[str, Card],
        measures: Measures,
        house_prompt: str = "",
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.catalogue = catalogue
        self.cards = cards
        self.measures = measures
        self._house_prompt = house_prompt
        self._chance = chance
        self._settled: dict[tuple[str, Operation], Plan] = {}  # one for each model and operation at most

    def plan(self, call: Call) -> Plan:
        """Who serves this call, in which order.

        Raises:
            ModelUnknown, PermissionDenied, UnsupportedParameter, NotSupported, Unavailable, BadRequest
        """
        asked = call.request.model
        settled = self._settled.get((asked, call.operation))
        if (
            settled is not None
            and call.principal.models is None
            and getattr(call.request, "venice_parameters", None) is None
        ):
            return settled
        model, via, features = self.find(asked, TYPE_OF[call.operation], call.operation)
        allowed = call.principal.models
        if allowed is not None and model.id not in allowed:
            raise PermissionDenied(f"This key may not use the model {model.id!r}.", param="model")
        body = getattr(call.request, "venice_parameters", None)
        asks = features_of(body, features, self.catalogue, self._house_prompt)
        targets = self._usable(model, call, asks)
        plan = Plan(model, self._ordered(targets), asked, via, asks)
        if via == "id" and asked == model.id and body is None and self._never_differs(model, call.operation):
            self._settled[asked, call.operation] = plan
        return plan

    def _never_differs(self, model: Model, operation: Operation) -> bool:
        """Whether every call of a model's name that asks for no feature has the same plan: one target, which refuses nothing.
        What it depends on is the snapshot's, and so are we."""
        if len(model.targets) != 1:
            return False
        return not self.cards[model.targets[0].upstream].caps.refused(operation)

    def find(
        self, asked: str, type_: ModelType, operation: Operation | None = None
    ) -> tuple[Model, str, dict[str, Any]]:
        """A name → its model, by which rule it was found, and the features of its suffix. Raises ModelUnknown."""
        catalogue = self.catalogue
        name, features = (asked, {}) if asked in catalogue.models else split_suffix(asked)
        found = self._named(name, type_)
        if found is None and (mapped := catalogue.mapped(name, type_)) is not None:
            found = self._named(mapped, type_) or self._qualified(mapped, type_)
            found = (found[0], f"mapping:{name}") if found else None
        found = found or self._qualified(name, type_)
        if found is None and operation is Operation.IMAGES:
            found = self._named("default", type_)
            found = (found[0], "fallback:default") if found else None
        if found is None:
            raise self._unknown(asked, name, type_)
        return found[0], found[1], features

    def _named(self, name: str, type_: ModelType) -> tuple[Model, str] | None:
        model = self.catalogue.models.get(name)
        if model is not None and model.type == type_:
            return model, "id"
        trait = self.catalogue.traits[type_].get(name)
        if trait is None:
            return None
        if isinstance(trait, Measure):
            winner = self.measures.election(type_, name, trait).winner
            if winner is None:
                raise Unavailable(f"No candidate of the trait {name!r} is available.", param="model")
            return self.catalogue.models[winner], f"trait:{name}"
        return self.catalogue.models[trait], f"trait:{name}"

    def _qualified(self, name: str, type_: ModelType) -> tuple[Model, str] | None:
        upstream, slash, there = name.partition("/")
        if not slash or not there or upstream not in self.cards:
            return None
        for model in self.catalogue.of_type(type_):  # a model of ours that is served there: keep its card and price
            for target in model.targets:
                if target.upstream == upstream and target.model == there:
                    return msgspec.structs.replace(model, targets=(target,)), "qualified"
        return Model(id=name, type=type_, name=there, targets=(Target(upstream, there),), listed=False), "qualified"

    def _unknown(self, asked: str, name: str, type_: ModelType) -> ModelUnknown:
        other = self.catalogue.models.get(name)
        if other is not None:
            return ModelUnknown(
                f"The model {asked!r} is of type {other.type}; this route takes {type_}.", param="model"
            )
        near = self.catalogue.nearest(name, type_)
        hint = " Did you mean " + ", ".join(repr(n) for n in near) + "?" if near else ""
        return ModelUnknown(f"The model {asked[:200]!r} does not exist.{hint}", param="model")

    def _usable(self, model: Model, call: Call, asks: Features) -> list[Target]:
        usable: list[Target] = []
        venice_only = None if asks is NOTHING_ASKED else asks.needs_venice
        why: list[str] = []
        refusals: list[str] = []
        incapable = 0
        for target in model.targets:
            card = self.cards[target.upstream]
            if card.missing:
                why.append(f"{target.upstream}: {card.missing}")
            elif call.operation not in card.caps.operations:
                incapable += 1
            elif refused := _refused(call, card.caps.refused(call.operation)):
                refusals.extend(refused)
            elif venice_only and not card.caps.venice:
                refusals.append(f"venice_parameters.{venice_only}")
            else:
                usable.append(target)
        if usable:
            return usable
        if refusals:
            key = refusals[0]
            if asks.foreign_character and key.endswith("character_slug"):
                raise unknown_character(asks.foreign_character, self.catalogue)
            raise UnsupportedParameter(f"No upstream of model {model.id!r} supports the parameter {key!r}.", param=key)
        if why:
            raise Unavailable(f"No upstream of model {model.id!r} is available ({'; '.join(why)}).", retry_after_s=60)
        raise NotSupported(f"No upstream configured for model {model.id!r} can serve {call.operation.value}.")

    def _ordered(self, targets: list[Target]) -> tuple[Target, ...]:
        """Lower priority first; within one, a weighted shuffle, so that shares follow the weights."""
        if len(targets) == 1:
            return tuple(targets)
        return tuple(sorted(targets, key=lambda t: (t.priority, -(self._chance() ** (1.0 / t.weight)))))


# Values that ask for nothing: a refused parameter with one of them is as good as absent.
_IDLE = frozenset(
    {b"false", b"[]", b"{}", b"1", b'"none"', b'"auto"', b'"off"', b'{"type":"text"}', b'{"type": "text"}'}
)


def _refused(call: Call, names: frozenset[str]) -> list[str]:
    return [key for key in call.fields if key in names and _matters(key, call.fields[key])] if names else []


def _matters(key: str, value: msgspec.Raw) -> bool:
    return bytes(value) not in _IDLE
