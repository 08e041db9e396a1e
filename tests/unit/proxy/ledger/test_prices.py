"""Prices and what a usage costs."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from proxy.call import Usage
from proxy.config import Pricing
from proxy.ledger.prices import PriceTable

TABLE = PriceTable(
    {
        "llama": Pricing(input_usd=0.70, output_usd=2.80),
        "cached": Pricing(input_usd=2.5, output_usd=10, cached_input_usd=1.25),
        "flux": Pricing(generation_usd=0.01),
        "big": Pricing(upscale_2x_usd=0.02, upscale_4x_usd=0.08),
        "voice": Pricing(characters_usd=3.5),
        "half": Pricing(input_usd=0.15),
        "none": None,
    }
)


def test_lines_are_rounded_each_and_add_up() -> None:
    charge = TABLE.charge("llama", Usage(prompt_tokens=339, completion_tokens=227))
    assert (charge.input_micro, charge.output_micro, charge.amount_micro) == (237, 636, 873)
    assert charge.input_price == 700_000_000
    assert charge.version == TABLE.version
    assert TABLE.charge("half", Usage(prompt_tokens=10)).input_micro == 2  # 1.5, half up


def test_cached_tokens_cost_what_they_cost() -> None:
    usage = Usage(prompt_tokens=1000, cached_tokens=400, completion_tokens=10)
    charge = TABLE.charge("cached", usage)
    assert (charge.input_micro, charge.cached_micro, charge.output_micro) == (1500, 500, 100)
    assert TABLE.charge("llama", usage).cached_micro == 280  # no price of their own: like the others


def test_images_upscales_and_characters() -> None:
    assert TABLE.charge("flux", Usage(images=3)).amount_micro == 30_000
    assert TABLE.charge("flux", Usage(images=3)).unit == "image-unit"
    assert TABLE.charge("big", Usage(images=1), "upscale-4x-unit").amount_micro == 80_000
    assert TABLE.charge("voice", Usage(characters=1000)).amount_micro == 3500
    assert TABLE.charge("voice", Usage(characters=1000)).unit == "tts-mcharacter"


def test_what_has_no_price_has_no_amount() -> None:
    for model in ("none", "never heard of"):
        charge = TABLE.charge(model, Usage(prompt_tokens=5))
        assert (charge.amount_micro, charge.input_micro) == (None, None)
        assert TABLE.worst(model, Usage(prompt_tokens=5)) is None
    part = TABLE.charge("half", Usage(prompt_tokens=1000, completion_tokens=1))
    assert (part.input_micro, part.output_micro, part.amount_micro) == (150, None, None)
    assert TABLE.charge("half", Usage(prompt_tokens=1000)).amount_micro == 150
    assert not TABLE.knows("none")


def test_equal_prices_have_equal_versions() -> None:
    one = PriceTable({"a": Pricing(input_usd=1), "b": Pricing(output_usd=2)})
    two = PriceTable({"b": Pricing(output_usd=2), "a": Pricing(input_usd=1.0), "c": None})
    assert one.version == two.version
    assert one.version != PriceTable({"a": Pricing(input_usd=1), "b": Pricing(output_usd=2.000001)}).version


@given(st.integers(0, 10**7), st.integers(0, 10**7), st.integers(0, 10**6), st.decimals(0, 1000, places=6))
def test_amounts_are_exact_to_half_a_micro_unit_and_never_above_the_worst(
    prompt: int, completion: int, cached: int, usd: Decimal
) -> None:
    table = PriceTable({"m": Pricing(input_usd=float(usd), output_usd=3.0, cached_input_usd=0.5)})
    usage = Usage(prompt_tokens=prompt, completion_tokens=completion, cached_tokens=min(cached, prompt))
    charge = table.charge("m", usage)
    assert charge.input_micro is not None
    assert abs(charge.input_micro - Decimal(prompt - usage.cached_tokens) * usd) <= Decimal("0.5")
    worst = table.worst("m", Usage(prompt_tokens=prompt, completion_tokens=completion))
    assert worst is not None
    assert charge.amount_micro is not None
    assert charge.amount_micro <= worst + 1  # two lines round where one does
