"""Models, traits, mappings and characters of one configuration: an immutable snapshot, checked when it is built.

It knows names and figures; it knows no upstream's dialect and opens nothing. Every name in it leads somewhere.
"""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from proxy.call import Operation, Target
from proxy.config import (
    MODEL_TYPES,
    Capabilities,
    Character,
    Config,
    Constraints,
    Measure,
    ModelRow,
    ModelType,
    Pricing,
    dotted,
)
from proxy.errors import ConfigError

TYPE_OF: dict[Operation, ModelType] = {
    Operation.CHAT: "text",
    Operation.COMPLETIONS: "text",
    Operation.RESPONSES: "text",
    Operation.MESSAGES: "text",
    Operation.EMBEDDINGS: "embedding",
    Operation.IMAGES: "image",
    Operation.IMAGE_EDIT: "inpaint",
    Operation.UPSCALE: "upscale",
    Operation.SPEECH: "tts",
    Operation.TRANSCRIPTION: "asr",
}


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the catalogue. `listed` is false for a model that was only named by its upstream's name."""

    id: str
    type: ModelType
    name: str
    targets: tuple[Target, ...]
    traits: tuple[str, ...] = ()
    description: str | None = None
    context_tokens: int | None = None
    capabilities: Capabilities | None = None
    constraints: Constraints = Constraints()
    pricing: Pricing | None = None
    source: str | None = None
    voices: tuple[str, ...] = ()
    beta: bool = False
    owned_by: str = "venice.ai"
    created: int = 1_700_000_000
    listed: bool = True


class Catalogue(msgspec.Struct, frozen=True):
    """`traits` and `mappings` are per model type; a mapping's value is a model id, a trait or another mapping."""

    models: Mapping[str, Model]
    traits: Mapping[ModelType, Mapping[str, str | Measure]]
    mappings: Mapping[ModelType, Mapping[str, str]]
    characters: Mapping[str, Character]
    upstreams: frozenset[str]

    def of_type(self, type_: ModelType) -> list[Model]:
        return [model for model in self.models.values() if model.type == type_]

    def nearest(self, name: str, type_: ModelType, count: int = 3) -> list[str]:
        """The names of this type that look most like `name`, best first."""
        names = [m.id for m in self.of_type(type_)] + list(self.traits[type_]) + list(self.mappings[type_])
        return difflib.get_close_matches(name[:128], names, n=count, cutoff=0.0)

    def mapped(self, name: str, type_: ModelType) -> str | None:
        """Where a compatibility mapping leads, or None. Cycles cannot be here (see `build`)."""
        mapping = self.mappings[type_]
        found = None
        while name in mapping:
            name = found = mapping[name]
        return found


def build(config: Config, *, file: str = "") -> Catalogue:
    """Config → Catalogue.

    Raises:
        ConfigError: a target at an unknown upstream, a trait or mapping that leads nowhere, a cycle, a trait given twice.
    """
    upstreams = frozenset(config.upstreams)
    models = {id_: _model(id_, row, upstreams, file) for id_, row in config.models.items()}
    traits: dict[ModelType, dict[str, str | Measure]] = {t: dict(config.traits.get(t, {})) for t in MODEL_TYPES}
    for model in models.values():
        for trait in model.traits:
            other = traits[model.type].setdefault(trait, model.id)
            if other != model.id:
                raise ConfigError(
                    f"the trait {trait!r} of type {model.type} is given twice, also to {_named(other)}",
                    file=file,
                    where=dotted(("models", model.id, "traits")),
                    expected="each trait once per type",
                )
    mappings = {t: dict(config.compatibility.get(t, {})) for t in MODEL_TYPES}
    catalogue = Catalogue(models, traits, mappings, dict(config.characters), upstreams)
    _check_traits(catalogue, file)
    _check_mappings(catalogue, file)
    return catalogue


def _named(trait: str | Measure) -> str:
    return repr(trait) if isinstance(trait, str) else f"the measure {trait.by!r}"


def _model(id_: str, row: ModelRow, upstreams: frozenset[str], file: str) -> Model:
    where = dotted(("models", id_, "targets"))
    if not row.targets:
        raise ConfigError("no target", file=file, where=where, expected="at least one {upstream, model}")
    for index, target in enumerate(row.targets):
        if target.upstream not in upstreams:
            raise ConfigError(
                f"unknown upstream {target.upstream!r}",
                file=file,
                where=f"{where}.{index}.upstream",
                expected=_near(target.upstream, upstreams, "one of [upstreams]"),
            )
    fields = {f: getattr(row, f) for f in ModelRow.__struct_fields__ if f not in ("targets", "name")}
    targets = tuple(Target(t.upstream, t.model, t.priority, t.weight) for t in row.targets)
    return Model(id=id_, name=row.name or id_, targets=targets, **fields)


def _near(name: str, names: Iterable[str], otherwise: str) -> str:
    found = difflib.get_close_matches(name, list(names), n=1)
    return repr(found[0]) if found else otherwise


def _check_traits(catalogue: Catalogue, file: str) -> None:
    for type_, traits in catalogue.traits.items():
        of_type = {model.id for model in catalogue.of_type(type_)}
        for trait, value in traits.items():
            ids = value.among if isinstance(value, Measure) else (value,)
            for id_ in ids:
                if id_ not in of_type:
                    said = "is of another type" if id_ in catalogue.models else "does not exist"
                    raise ConfigError(
                        f"the model {id_!r} {said}",
                        file=file,
                        where=dotted(("traits", type_, trait)),
                        expected=_near(id_, of_type, f"a model of type {type_}"),
                    )


def _check_mappings(catalogue: Catalogue, file: str) -> None:
    for type_, mapping in catalogue.mappings.items():
        known = {model.id for model in catalogue.of_type(type_)} | set(catalogue.traits[type_])
        for name in mapping:
            where, seen, at = dotted(("compatibility", type_, name)), [name], name
            while at in mapping:
                at = mapping[at]
                if at in seen:
                    cycle = " → ".join([*seen, at])
                    raise ConfigError(f"a cycle: {cycle}", file=file, where=where, expected="an end at a model")
                seen.append(at)
            upstream, slash, rest = at.partition("/")
            qualified = bool(slash and rest) and upstream in catalogue.upstreams
            if at not in known and not qualified:
                expected = _near(at, known, f"a model or trait of type {type_}")
                raise ConfigError(f"leads to {at!r}, which does not exist", file=file, where=where, expected=expected)


def unpriced(catalogue: Catalogue) -> list[str]:
    """Ids of models whose price is unknown: their ledger rows will have no amount."""
    return [model.id for model in catalogue.models.values() if model.pricing is None]


def price_figure(model: Model) -> float | None:
    """One figure to compare models of a type by: dollars for a million tokens in and out, or for one piece."""
    pricing = model.pricing
    if pricing is None:
        return None
    figures: list[Any] = [pricing.input_usd, pricing.output_usd, pricing.generation_usd, pricing.characters_usd]
    known = [figure for figure in figures if figure is not None]
    return sum(known) if known else None
