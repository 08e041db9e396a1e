"""What the account routes answer, as types: for the document only, as `answers` is."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

Maybe = UnsetType
KeyType = Literal["INFERENCE", "ADMIN"]
Amount = Annotated[float, Meta(ge=0)] | None


class KeyLimits(msgspec.Struct):
    """A day's, in whole units; null is without."""

    usd: Amount
    diem: Amount
    vcu: Amount


class Spent(msgspec.Struct):
    """Decimal numbers as texts."""

    usd: str
    vcu: str
    diem: str


class KeyUsage(msgspec.Struct):
    trailingSevenDays: Spent


class ListedKey(msgspec.Struct):
    id: str
    apiKeyType: KeyType
    consumptionLimits: KeyLimits
    createdAt: str | None
    expiresAt: str | None
    last6Chars: str
    lastUsedAt: str | None
    description: str | Maybe = UNSET
    usage: KeyUsage | Maybe = UNSET


class KeyList(msgspec.Struct):
    object: Literal["list"]
    data: list[ListedKey]


class MadeKey(msgspec.Struct):
    """`apiKey` is shown here and never again."""

    apiKey: str
    apiKeyType: KeyType
    consumptionLimit: KeyLimits
    expiresAt: str | None
    id: str
    description: str | Maybe = UNSET


class KeyMade(msgspec.Struct):
    success: bool
    data: MadeKey


class Success(msgspec.Struct):
    success: bool


class Web3Token(msgspec.Struct):
    token: str


class Web3TokenMade(msgspec.Struct):
    success: bool
    data: Web3Token


class Tier(msgspec.Struct):
    id: str
    isCharged: bool


class Balances(msgspec.Struct):
    USD: float | Maybe = UNSET
    VCU: float | Maybe = UNSET
    DIEM: float | Maybe = UNSET


class Limit(msgspec.Struct):
    amount: float
    type: str


class ModelLimits(msgspec.Struct):
    apiModelId: str
    rateLimits: list[Limit]


class LimitsNow(msgspec.Struct):
    accessPermitted: bool
    apiTier: Tier
    balances: Balances
    keyExpiration: str | None
    nextEpochBegins: str
    rateLimits: list[ModelLimits]


class RateLimits(msgspec.Struct):
    data: LimitsNow


class LimitHit(msgspec.Struct):
    """`need` and `have`: of the bucket; `passesAt`: when the same call would have passed."""

    apiKeyId: str
    modelId: str
    rateLimitTier: str
    rateLimitType: str
    timestamp: str
    need: int | Maybe = UNSET
    have: int | Maybe = UNSET
    passesAt: str | Maybe | None = UNSET


class LimitLog(msgspec.Struct):
    object: Literal["list"]
    data: list[LimitHit]


class InferenceDetails(msgspec.Struct):
    """`inferenceExecutionTime` in milliseconds."""

    requestId: str | None
    promptTokens: int | None
    completionTokens: int | None
    inferenceExecutionTime: float | None


class BillingRow(msgspec.Struct):
    timestamp: str
    sku: str
    units: float
    pricePerUnitUsd: float
    amount: float
    currency: Literal["USD", "VCU", "DIEM"]
    notes: str
    inferenceDetails: InferenceDetails | None


class Pagination(msgspec.Struct):
    limit: int
    page: int
    total: int
    totalPages: int


class BillingUsage(msgspec.Struct):
    data: list[BillingRow]
    pagination: Pagination


class ReceiptUsage(msgspec.Struct):
    promptTokens: int | None
    cachedTokens: int | None
    completionTokens: int | None
    reasoningTokens: int | None
    characters: int | None
    images: int | None
    source: str | None


class ReceiptLine(msgspec.Struct):
    """`price` is for `per` units."""

    unit: str
    quantity: int
    price: float | None
    per: int
    amount: float | None
    amountMicro: int | None


class ReceiptCharge(msgspec.Struct):
    """Null is unknown, never 0."""

    currency: str | None
    amount: float | None
    amountMicro: int | None
    priceVersion: str | None
    lines: list[ReceiptLine]


class Receipt(msgspec.Struct):
    """One call: who served, how it ended, what it used and cost."""

    object: Literal["receipt"]
    id: str
    keyId: str | None
    operation: str
    stream: bool
    model: str | None
    upstream: str | None
    target: str | None
    attempts: list[dict[str, Any]]
    createdAt: str
    settledAt: str | None
    ending: str | None
    error: str | None
    bytesOut: int | None
    usage: ReceiptUsage
    charge: ReceiptCharge
    timing: dict[str, float | None]
