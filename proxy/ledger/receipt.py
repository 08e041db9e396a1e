"""One call's row as a receipt: who asked, who served, how it ended, what it used, what it cost and why. Pure; it reads no table.

What is not known is null, never 0. Amounts are given twice: whole units for people, integer micro-units for sums.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from proxy.ledger.row import timestamp

MILLION = 1_000_000
# line: (columns of amount and price, what it counts)
LINES = (("input", "prompt tokens"), ("cached", "cached prompt tokens"), ("output", "completion tokens"), ("unit", ""))


def receipt_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of `calls`, name by name → `GET requests/{id}`."""
    return {
        "object": "receipt",
        "id": row["call_id"],
        "keyId": row["key_id"],
        "operation": row["operation"],
        "stream": bool(row["stream"]),
        "model": row["model"],
        "upstream": row["upstream"],
        "target": row["target"],
        "attempts": msgspec.json.decode(row["attempts"]),
        "createdAt": timestamp(row["created_us"]),
        "settledAt": timestamp(row["settled_us"]),
        "ending": row["ending"],
        "error": row["error"],
        "bytesOut": row["bytes_out"],
        "usage": {
            "promptTokens": row["prompt_tokens"],
            "cachedTokens": row["cached_tokens"],
            "completionTokens": row["completion_tokens"],
            "reasoningTokens": row["reasoning_tokens"],
            "characters": row["characters"],
            "images": row["images"],
            "source": row["usage_source"],
        },
        "charge": {
            "currency": row["currency"],
            "amount": _whole(row["amount_micro"]),
            "amountMicro": row["amount_micro"],
            "priceVersion": row["price_version"],
            "lines": [line for name, unit in LINES if (line := _line(row, name, unit)) is not None],
        },
        "timing": {"queueMs": row["queue_ms"], "firstFrameMs": row["ttft_ms"], "totalMs": row["total_ms"]},
    }


def _line(row: Mapping[str, Any], name: str, unit: str) -> dict[str, Any] | None:
    """One line of the charge; None if there was nothing of it."""
    quantity = _quantity(row, name)
    if not quantity:
        return None
    unit = unit or str(row["unit"] or "units")
    per = 1 if name == "unit" and not row["characters"] else MILLION
    price, micro = row[f"{name}_price"], row[f"{name}_micro"]
    return {
        "unit": unit,
        "quantity": quantity,
        "price": None if price is None else price / 1e9,
        "per": per,
        "amount": _whole(micro),
        "amountMicro": micro,
    }


def _quantity(row: Mapping[str, Any], name: str) -> int:
    cached = row["cached_tokens"] or 0
    if name == "input":
        return max(0, (row["prompt_tokens"] or 0) - cached)
    if name == "cached":
        return int(cached)
    if name == "output":
        return row["completion_tokens"] or 0
    return row["characters"] or row["images"] or 0


def _whole(micro: int | None) -> float | None:
    return None if micro is None else micro / MILLION
