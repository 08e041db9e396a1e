"""Cards decode as the types that the document shows."""

import msgspec

from proxy.catalogue import Model
from proxy.config import Pricing
from proxy.wire import models as wire
from proxy.wire.body import encode
from routes._openapi import cards


def test_a_model_s_card() -> None:
    """Only what is known of it is told."""
    model = Model(id="m", type="text", name="M", targets=(), pricing=Pricing(input_usd=1, output_usd=2))
    card = msgspec.json.decode(encode(wire.card(model, offline=False)), type=cards.ModelCard)
    assert isinstance(card.model_spec.pricing, cards.ModelPricing)
    assert card.model_spec.voices is msgspec.UNSET
