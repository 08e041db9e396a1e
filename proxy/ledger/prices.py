"""Prices as integers, and what a usage costs. Pure; it knows the configuration's price rows and no table of the database.

A price is in nano-units per million tokens or characters, or per image; an amount is in micro-units, each line rounded
half up by itself, so that the lines of a receipt add up to its sum. What has no price has no amount: null, never 0.

The rule for calls that did not finish. A client that left is charged for the prompt and for what was produced until the
upstream was closed; an upstream that failed on the way is charged alike for what it had produced, and not at all if that
was nothing. A call whose process died has no amount: what it used is not known (`interrupted`).
"""

import hashlib
from collections.abc import Mapping
from decimal import Decimal

import msgspec

from proxy.call import Usage
from proxy.config import Pricing

MILLION = 1_000_000
_WHOLE = MILLION * 1000
_HALF = _WHOLE // 2


class Price(msgspec.Struct, frozen=True, omit_defaults=True):
    """Of one model. None: not known."""

    input: int | None = None
    cached: int | None = None
    output: int | None = None
    image: int | None = None
    upscale_2x: int | None = None
    upscale_4x: int | None = None
    characters: int | None = None

    @property
    def of_cached(self) -> int | None:
        return self.input if self.cached is None else self.cached


class Charge(msgspec.Struct, frozen=True):
    """What a usage costs, line by line, with the prices that it was computed with."""

    version: str = ""
    input_micro: int | None = None
    cached_micro: int | None = None
    output_micro: int | None = None
    unit_micro: int | None = None
    amount_micro: int | None = None
    input_price: int | None = None
    cached_price: int | None = None
    output_price: int | None = None
    unit_price: int | None = None
    unit: str | None = None


def _nano(usd: float | None) -> int | None:
    return None if usd is None else int((Decimal(str(usd)) * 1_000_000_000).to_integral_value())


def _price(row: Pricing) -> Price:
    return Price(
        input=_nano(row.input_usd),
        cached=_nano(row.cached_input_usd),
        output=_nano(row.output_usd),
        image=_nano(row.generation_usd),
        upscale_2x=_nano(row.upscale_2x_usd),
        upscale_4x=_nano(row.upscale_4x_usd),
        characters=_nano(row.characters_usd),
    )


def _line(quantity: int, price: int | None, per: int) -> int | None:
    """Micro-units; half a micro-unit is rounded up."""
    if price is None:
        return None
    whole = per * 1000
    return (2 * quantity * price + whole) // (2 * whole)


def token_lines(price: Price, prompt: int, cached: int, made: int) -> tuple[int | None, int | None, int | None]:
    """Micro-units for fresh, cached and produced tokens; None for a line whose price is needed and not known."""
    fresh, of_input, of_cached, of_output = prompt - cached, price.input, price.of_cached, price.output
    if of_input is None or of_cached is None or of_output is None:
        return (
            _line(fresh, of_input, MILLION) if fresh > 0 else 0,
            _line(cached, of_cached, MILLION) if cached else 0,
            _line(made, of_output, MILLION) if made else 0,
        )
    return (  # as `_line`: this runs for every call, and nearly every model has these prices
        (fresh * of_input + _HALF) // _WHOLE if fresh > 0 else 0,
        (cached * of_cached + _HALF) // _WHOLE if cached else 0,
        (made * of_output + _HALF) // _WHOLE,
    )


def charge(price: Price | None, version: str, usage: Usage, unit: str) -> Charge:
    """See `PriceTable.charge`."""
    if price is None:
        return Charge(version)
    input_micro, cached_micro, output_micro = token_lines(
        price, usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens
    )
    unit_price: int | None = None
    unit_micro: int | None = 0
    counted = None
    if usage.characters:
        counted, unit_price = "tts-mcharacter", price.characters
        unit_micro = _line(usage.characters, unit_price, MILLION)
    elif usage.images:
        by_unit = {"upscale-2x-unit": price.upscale_2x, "upscale-4x-unit": price.upscale_4x}
        counted, unit_price = unit, by_unit.get(unit, price.image)
        unit_micro = _line(usage.images, unit_price, 1)
    if input_micro is None or cached_micro is None or output_micro is None or unit_micro is None:
        amount = None
    else:
        amount = input_micro + cached_micro + output_micro + unit_micro
    return Charge(
        version,
        input_micro,
        cached_micro,
        output_micro,
        unit_micro,
        amount,
        price.input,
        price.of_cached,
        price.output,
        unit_price,
        counted,
    )


class PriceTable:
    """All prices of one snapshot. `version` is a hash of them: equal prices, equal version."""

    def __init__(self, pricing: Mapping[str, Pricing | None]) -> None:
        self._prices = {model: _price(row) for model, row in pricing.items() if row is not None}
        self.text = msgspec.json.encode(self._prices, order="sorted").decode()
        self.version = hashlib.sha256(self.text.encode()).hexdigest()[:12]

    def knows(self, model: str) -> bool:
        return model in self._prices

    def of(self, model: str) -> Price | None:
        return self._prices.get(model)

    def charge(self, model: str, usage: Usage, unit: str = "image-unit") -> Charge:
        """What `usage` costs. `unit` says what `usage.images` counts: image-unit, upscale-2x-unit or upscale-4x-unit."""
        return charge(self._prices.get(model), self.version, usage, unit)

    def worst(self, model: str, usage: Usage, unit: str = "image-unit") -> int | None:
        """The most that a call can cost whose usage is at most this, in micro-units; None if a price is not known.
        Cached tokens count as fresh ones where those are dearer."""
        price = self._prices.get(model)
        if price is None:
            return None
        cached = 0
        if price.cached is not None and price.input is not None and price.cached > price.input:
            cached = usage.prompt_tokens
        most = msgspec.structs.replace(usage, cached_tokens=cached)
        return self.charge(model, most, unit).amount_micro
