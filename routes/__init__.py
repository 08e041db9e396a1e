"""HTTP in: decode, run, encode. The whole URL table is on this screen; every line is mounted under /v1 and /api/v1, but for
those that are not `prefixed`. What is not OPEN needs a key as soon as keys are asked for.
"""

from routes import (
    admin,
    billing,
    characters,
    chat,
    documents,
    embeddings,
    images,
    keys,
    limits,
    models,
    operations,
    receipts,
    speech,
    transcriptions,
    webhooks,
)
from routes._endpoint import Access, Route

OPEN, KEY, ADMIN = Access.OPEN, Access.KEY, Access.ADMIN

TABLE: tuple[Route, ...] = (
    Route("POST", "/chat/completions", chat.create, KEY),
    Route("POST", "/embeddings", embeddings.create, KEY),
    Route("POST", "/audio/speech", speech.create, KEY),
    Route("POST", "/audio/transcriptions", transcriptions.create, KEY),
    Route("POST", "/image/generate", images.generate, KEY),
    Route("POST", "/images/generations", images.generations, KEY),
    Route("POST", "/image/upscale", images.upscale, KEY),
    Route("POST", "/image/edit", images.edit, KEY),
    Route("POST", "/images/edits", images.openai_edits, KEY),
    Route("GET", "/image/styles", images.listed_styles, OPEN),
    Route("GET", "/models", models.listed, OPEN),
    Route("GET", "/models/traits", models.traits, OPEN),
    Route("GET", "/models/traits/explain", models.explained, KEY),
    Route("GET", "/models/compatibility_mapping", models.mappings, OPEN),
    Route("GET", "/models/{model_id:path}", models.retrieved, OPEN),
    Route("GET", "/characters", characters.listed, KEY),
    Route("GET", "/api_keys", keys.listed, ADMIN),
    Route("POST", "/api_keys", keys.created, ADMIN),
    Route("DELETE", "/api_keys", keys.revoked, ADMIN),
    Route("GET", "/api_keys/rate_limits", limits.current, KEY),
    Route("GET", "/api_keys/rate_limits/log", limits.log, KEY),
    Route("GET", "/api_keys/generate_web3_key", keys.web3_token, OPEN),
    Route("POST", "/api_keys/generate_web3_key", keys.web3_created, OPEN),
    Route("GET", "/billing/usage", billing.usage, ADMIN),
    Route("GET", "/requests/{request_id:str}", receipts.retrieved, KEY),
    Route("POST", "/webhooks/{upstream:str}", webhooks.reported, OPEN, prefixed=False),
    Route("GET", "/livez", operations.live, OPEN, prefixed=False),
    Route("GET", "/readyz", operations.ready, OPEN, prefixed=False),
    Route("GET", "/health", operations.health, OPEN, prefixed=False),
    Route("GET", "/metrics", operations.metrics, ADMIN, prefixed=False),
    Route("GET", "/openapi.json", documents.openapi, OPEN, prefixed=False),
    Route("GET", "/docs", documents.docs, OPEN, prefixed=False),
    Route("POST", "/admin/reload", operations.reload, ADMIN, prefixed=False),
    Route("POST", "/admin/models/load", admin.load, ADMIN, prefixed=False),
    Route("POST", "/admin/models/status", admin.status, ADMIN, prefixed=False),
    Route("POST", "/admin/models/instances", admin.listed, ADMIN, prefixed=False),
    Route("POST", "/admin/models/delete", admin.delete, ADMIN, prefixed=False),
)
PREFIXES = ("/v1", "/api/v1")
