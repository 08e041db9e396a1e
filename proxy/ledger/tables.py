"""The tables, once, for SQLite and PostgreSQL. Names and types only; `migrations/` brings an old file up to them.

Times are integers, µs since 1970 UTC; money is integers, micro-units; nobody adds a float here.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

HEAD = "0001"  # the newest migration; a test holds it against migrations/versions

SHARED = {"shared": True}  # mostly the same in rows that are written together: see `bulk.py`

metadata = MetaData()

calls = Table(
    "calls",
    metadata,
    Column("call_id", String(80), primary_key=True),
    Column("key_id", String(80), nullable=False, info=SHARED),
    Column("operation", String(32), nullable=False, info=SHARED),
    Column("model", Text, nullable=False, info=SHARED),
    Column("upstream", Text, nullable=False, info=SHARED),
    Column("target", Text, nullable=False, info=SHARED),
    Column("created_us", BigInteger, nullable=False),
    Column("settled_us", BigInteger, nullable=False),
    Column("ending", String(16), nullable=False, info=SHARED),
    Column("stream", Boolean, nullable=False, info=SHARED),
    Column("error", Text, info=SHARED),
    Column("attempts", Text, nullable=False),
    Column("prompt_tokens", BigInteger),
    Column("completion_tokens", BigInteger),
    Column("cached_tokens", BigInteger),
    Column("reasoning_tokens", BigInteger),
    Column("characters", BigInteger, info=SHARED),
    Column("images", BigInteger, info=SHARED),
    Column("usage_source", String(16), info=SHARED),
    Column("price_version", String(16), nullable=False, info=SHARED),
    Column("currency", String(8), nullable=False, info=SHARED),
    Column("input_micro", BigInteger),
    Column("cached_micro", BigInteger),
    Column("output_micro", BigInteger),
    Column("unit_micro", BigInteger, info=SHARED),
    Column("amount_micro", BigInteger),
    Column("input_price", BigInteger, info=SHARED),
    Column("cached_price", BigInteger, info=SHARED),
    Column("output_price", BigInteger, info=SHARED),
    Column("unit_price", BigInteger, info=SHARED),
    Column("unit", String(24), info=SHARED),
    Column("queue_ms", Float),
    Column("ttft_ms", Float),
    Column("total_ms", Float),
    Column("bytes_out", BigInteger),
    Index("calls_by_key", "key_id", "created_us"),
    Index("calls_by_time", "created_us"),
)

prices = Table(
    "prices",
    metadata,
    Column("version", String(16), primary_key=True),
    Column("since_us", BigInteger, nullable=False),
    Column("text", Text, nullable=False),
)

keys = Table(
    "keys",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("mac", LargeBinary(32), nullable=False),  # HMAC-SHA-256 of the whole key; the key itself is nowhere
    Column("last6", String(6), nullable=False),
    Column("admin", Boolean, nullable=False),
    Column("description", Text, nullable=False),
    Column("tier", Text, nullable=False),
    Column("models", Text),  # JSON list; null: all
    Column("usd_micro", BigInteger),
    Column("diem_micro", BigInteger),
    Column("vcu_micro", BigInteger),
    Column("created_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger),
    Column("revoked_us", BigInteger),
    Column("last_used_us", BigInteger),
)

counters = Table(  # "keys": one more for every change of a key, so that a worker can ask whether anything changed
    "counters",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", BigInteger, nullable=False),
)

spent_tokens = Table(  # single-use tokens (web3), until they would have expired anyway
    "spent_tokens",
    metadata,
    Column("nonce", String(64), primary_key=True),
    Column("expires_us", BigInteger, nullable=False),
)

replays = Table(
    "replays",
    metadata,
    Column("name", String(64), primary_key=True),  # a hash of the caller's key, the route and the Idempotency-Key
    Column("body_hash", String(64), nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("status", BigInteger, nullable=False),
    Column("headers", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("replays_by_time", "created_us"),
)

rate_hits = Table(  # the last limits that were exceeded, of all workers
    "rate_hits",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("at_us", BigInteger, nullable=False),
    Column("key_id", String(80), nullable=False),
    Column("model", Text, nullable=False),
    Column("tier", Text, nullable=False),
    Column("measure", String(16), nullable=False),
    Column("need", BigInteger, nullable=False),
    Column("have", BigInteger, nullable=False),
    Column("passes_us", BigInteger),
    Index("rate_hits_by_time", "at_us"),
)
