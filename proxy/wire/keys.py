"""POST api_keys and api_keys/generate_web3_key, as Venice has them."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

DESCRIPTION_MAX = 512
Amount = Annotated[float, Meta(ge=0)]


class ConsumptionLimit(msgspec.Struct, forbid_unknown_fields=True):
    """A day's, in whole units; null is without."""

    usd: Amount | None = None
    diem: Amount | None = None
    vcu: Amount | None = None


class NewKey(msgspec.Struct, forbid_unknown_fields=True):
    apiKeyType: Literal["INFERENCE", "ADMIN"]
    description: Annotated[str, Meta(max_length=DESCRIPTION_MAX)]
    consumptionLimit: ConsumptionLimit = msgspec.field(default_factory=ConsumptionLimit)
    expiresAt: str | None = None


class NewWalletKey(NewKey, forbid_unknown_fields=True, kw_only=True):
    """`signature` is the wallet's, of the `token`; `description` has a default here."""

    address: Annotated[str, Meta(pattern=r"^0x[0-9A-Fa-f]{40}$")]
    signature: Annotated[str, Meta(max_length=200)]
    token: Annotated[str, Meta(max_length=1000)]
    description: Annotated[str, Meta(max_length=DESCRIPTION_MAX)] = "Web3 API Key"
