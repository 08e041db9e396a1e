"""The first schema: calls, prices, keys, counters, single-use tokens, replays, rate hits."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "calls",
        sa.Column("call_id", sa.String(80), primary_key=True),
        sa.Column("key_id", sa.String(80), nullable=False),
        sa.Column("operation", sa.String(32), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("upstream", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("settled_us", sa.BigInteger(), nullable=False),
        sa.Column("ending", sa.String(16), nullable=False),
        sa.Column("stream", sa.Boolean(), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("attempts", sa.Text(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger()),
        sa.Column("completion_tokens", sa.BigInteger()),
        sa.Column("cached_tokens", sa.BigInteger()),
        sa.Column("reasoning_tokens", sa.BigInteger()),
        sa.Column("characters", sa.BigInteger()),
        sa.Column("images", sa.BigInteger()),
        sa.Column("usage_source", sa.String(16)),
        sa.Column("price_version", sa.String(16), nullable=False),
        sa.Column("currency", sa.String(8), nullable=False),
        sa.Column("input_micro", sa.BigInteger()),
        sa.Column("cached_micro", sa.BigInteger()),
        sa.Column("output_micro", sa.BigInteger()),
        sa.Column("unit_micro", sa.BigInteger()),
        sa.Column("amount_micro", sa.BigInteger()),
        sa.Column("input_price", sa.BigInteger()),
        sa.Column("cached_price", sa.BigInteger()),
        sa.Column("output_price", sa.BigInteger()),
        sa.Column("unit_price", sa.BigInteger()),
        sa.Column("unit", sa.String(24)),
        sa.Column("queue_ms", sa.Float()),
        sa.Column("ttft_ms", sa.Float()),
        sa.Column("total_ms", sa.Float()),
        sa.Column("bytes_out", sa.BigInteger()),
    )
    op.create_index("calls_by_key", "calls", ["key_id", "created_us"])
    op.create_index("calls_by_time", "calls", ["created_us"])
    op.create_table(
        "counters",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("value", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "keys",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("mac", sa.LargeBinary(32), nullable=False),
        sa.Column("last6", sa.String(6), nullable=False),
        sa.Column("admin", sa.Boolean(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("tier", sa.Text(), nullable=False),
        sa.Column("models", sa.Text()),
        sa.Column("usd_micro", sa.BigInteger()),
        sa.Column("diem_micro", sa.BigInteger()),
        sa.Column("vcu_micro", sa.BigInteger()),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("expires_us", sa.BigInteger()),
        sa.Column("revoked_us", sa.BigInteger()),
        sa.Column("last_used_us", sa.BigInteger()),
    )
    op.create_table(
        "prices",
        sa.Column("version", sa.String(16), primary_key=True),
        sa.Column("since_us", sa.BigInteger(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
    )
    op.create_table(
        "replays",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("body_hash", sa.String(64), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.BigInteger(), nullable=False),
        sa.Column("headers", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
    )
    op.create_index("replays_by_time", "replays", ["created_us"])
    op.create_table(
        "spent_tokens",
        sa.Column("nonce", sa.String(64), primary_key=True),
        sa.Column("expires_us", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "rate_hits",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("key_id", sa.String(80), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("tier", sa.Text(), nullable=False),
        sa.Column("measure", sa.String(16), nullable=False),
        sa.Column("need", sa.BigInteger(), nullable=False),
        sa.Column("have", sa.BigInteger(), nullable=False),
        sa.Column("passes_us", sa.BigInteger()),
    )
    op.create_index("rate_hits_by_time", "rate_hits", ["at_us"])


def downgrade() -> None:
    op.drop_table("rate_hits")
    op.drop_table("spent_tokens")
    op.drop_table("replays")
    op.drop_table("prices")
    op.drop_table("keys")
    op.drop_table("counters")
    op.drop_table("calls")
