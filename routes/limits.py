"""GET api_keys/rate_limits and its log: what the calling key may still do, and which limits were exceeded last."""

import time
from typing import Any

from proxy.budgets import next_epoch
from proxy.call import ANYBODY
from proxy.ledger.row import timestamp
from proxy.limits.hits import Hit
from proxy.limits.reference import PERIODS_US
from routes import _books
from routes._endpoint import Answer, Desk
from routes._inbound import Inbound

CURRENCIES = {"usd": "USD", "diem": "DIEM", "vcu": "VCU"}


async def current(inbound: Inbound, desk: Desk) -> Answer:
    """Venice's shape: balances of the day, the tier, and the rates of every model that the key may use."""
    accounts, key = desk.accounts, inbound.principal
    now = time.time_ns() // 1000
    row = (await desk.keyring.store()).directory.row(key.id) if key is not ANYBODY else None
    left: dict[str, float] = {}
    if row is not None and (bucket := accounts.budgets.bucket(row, now)) is not None:
        await _books.guarded(accounts.budgets.ready(bucket, now))
        left = accounts.budgets.left(row, now)
    models = desk.house.catalogue.models.values()
    allowed = [model for model in models if key.models is None or model.id in key.models]
    tiers = accounts.rules.tiers
    rates = [
        {"apiModelId": model.id, "rateLimits": figures}
        for model in allowed
        if (figures := [_figure(b) for b in tiers.buckets(key, model) if b.measure in PERIODS_US])
    ]
    data = {
        "accessPermitted": all(amount > 0 for amount in left.values()) and not accounts.abuse.blocked_s(key.id),
        "apiTier": {"id": tiers.named(key.tier), "isCharged": any(model.pricing for model in allowed)},
        "balances": {CURRENCIES[name]: amount for name, amount in left.items()},
        "keyExpiration": None if row is None or row.expires_us is None else timestamp(row.expires_us),
        "nextEpochBegins": timestamp(next_epoch(now)),
        "rateLimits": rates,
    }
    return Answer({"data": data})


def _figure(bucket: Any) -> dict[str, Any]:
    return {"amount": bucket.capacity, "type": bucket.measure.value}


async def log(inbound: Inbound, desk: Desk) -> Answer:
    """The last fifty, newest first: of the calling key, or of everybody for an ADMIN key."""
    key = inbound.principal
    hits = await _books.guarded(desk.accounts.hits.last(None if key.admin else key.id))
    return Answer({"object": "list", "data": [_entry(hit) for hit in hits]})


def _entry(hit: Hit) -> dict[str, Any]:
    """Venice's five fields; then which bucket, how much it wanted and had, and when the same call would have passed."""
    return {
        "apiKeyId": hit.key_id,
        "modelId": hit.model,
        "rateLimitTier": hit.tier,
        "rateLimitType": hit.measure,
        "timestamp": timestamp(hit.at_us),
        "need": hit.need,
        "have": hit.have,
        "passesAt": None if hit.passes_us is None else timestamp(hit.passes_us),
    }
