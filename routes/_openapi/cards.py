"""Models and characters as they are listed, as types: for the document only, as `answers` is."""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from proxy.config import ModelType

Maybe = UnsetType
ListType = ModelType | Literal["all", "code"]


class Price(msgspec.Struct):
    """`usd` dollars; `diem` the same; a `vcu` is ten cents."""

    usd: float
    vcu: float
    diem: float


class UpscalePrice(msgspec.Struct):
    two: Price | Maybe = msgspec.field(name="2x", default=UNSET)
    four: Price | Maybe = msgspec.field(name="4x", default=UNSET)


class ModelPricing(msgspec.Struct):
    """Text: `input` and `output` for a million tokens. Pictures: `generation` and `upscale`. Speech: `input`."""

    input: Price | Maybe = UNSET
    output: Price | Maybe = UNSET
    generation: Price | Maybe = UNSET
    upscale: UpscalePrice | Maybe = UNSET


class Default(msgspec.Struct):
    default: float


class ModelSteps(msgspec.Struct):
    default: int
    max: int


class ModelConstraints(msgspec.Struct):
    promptCharacterLimit: int | Maybe = UNSET
    steps: ModelSteps | Maybe = UNSET
    widthHeightDivisor: int | Maybe = UNSET
    temperature: Default | Maybe = UNSET
    top_p: Default | Maybe = UNSET


class ModelCapabilities(msgspec.Struct, forbid_unknown_fields=True):
    optimizedForCode: bool
    quantization: Literal["fp8", "fp16", "not-available"]
    supportsFunctionCalling: bool
    supportsReasoning: bool
    supportsResponseSchema: bool
    supportsVision: bool
    supportsWebSearch: bool
    supportsLogProbs: bool


class ModelSpec(msgspec.Struct):
    """`engine` is what the local engine knows of a model of its own."""

    name: str
    offline: bool
    traits: list[str]
    description: str | Maybe = UNSET
    beta: bool | Maybe = UNSET
    modelSource: str | Maybe = UNSET
    availableContextTokens: int | Maybe = UNSET
    capabilities: ModelCapabilities | Maybe = UNSET
    constraints: ModelConstraints | Maybe = UNSET
    pricing: ModelPricing | Maybe = UNSET
    voices: list[str] | Maybe = UNSET
    engine: dict[str, Any] | Maybe = UNSET


class ModelCard(msgspec.Struct):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    type: ModelType
    model_spec: ModelSpec


class ModelList(msgspec.Struct):
    object: Literal["list"]
    type: ListType
    data: list[ModelCard]


class NameList(msgspec.Struct):
    """Name → model id."""

    object: Literal["list"]
    type: ModelType
    data: dict[str, str]


class TraitExplained(msgspec.Struct):
    object: Literal["trait"]
    trait: str
    type: ModelType
    by: str
    winner: str | None
    candidates: list[dict[str, Any]]


class CharacterStats(msgspec.Struct):
    imports: int


class Character(msgspec.Struct):
    slug: str
    name: str
    description: str | None
    adult: bool
    createdAt: str
    updatedAt: str
    shareUrl: str | None
    stats: CharacterStats
    tags: list[str]
    webEnabled: bool


class CharacterList(msgspec.Struct):
    object: Literal["list"]
    data: list[Character]
