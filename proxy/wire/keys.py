"""POST api_keys, as Venice has it."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Amount = Annotated[float, Meta(ge=0)]


class ConsumptionLimit(msgspec.Struct, forbid_unknown_fields=True):
    """A day's, in whole units; null is without."""

    usd: Amount | None = None
    diem: Amount | None = None
    vcu: Amount | None = None


class NewKey(msgspec.Struct, forbid_unknown_fields=True):
    apiKeyType: Literal["INFERENCE", "ADMIN"]
    description: str
    consumptionLimit: ConsumptionLimit = msgspec.field(default_factory=ConsumptionLimit)
    expiresAt: str | None = None
