"""A row as a receipt."""

from typing import Any

import msgspec

from proxy.ledger.receipt import receipt_json
from proxy.ledger.row import Row


def row(**more: Any) -> dict[str, Any]:
    given = {
        "call_id": "req_1",
        "key_id": "key",
        "operation": "chat",
        "model": "m",
        "upstream": "up",
        "target": "up/m",
        "created_us": 1_700_000_000_000_000,
        "settled_us": 1_700_000_001_500_000,
        "ending": "finished",
        "attempts": '[{"target":"up/m","reason":"first","error":null,"ms":3.5}]',
        "prompt_tokens": 100,
        "cached_tokens": 40,
        "completion_tokens": 10,
        "usage_source": "upstream",
        "input_micro": 60,
        "cached_micro": 20,
        "output_micro": 20,
        "unit_micro": 0,
        "amount_micro": 100,
        "input_price": 1_000_000_000,
        "cached_price": 500_000_000,
        "output_price": 2_000_000_000,
    }
    return msgspec.structs.asdict(Row(**{**given, **more}))  # type: ignore[arg-type]


def test_the_lines_add_up_and_say_their_prices() -> None:
    told = receipt_json(row())
    assert (told["id"], told["keyId"], told["ending"]) == ("req_1", "key", "finished")
    assert (told["createdAt"], told["settledAt"]) == ("2023-11-14T22:13:20.000Z", "2023-11-14T22:13:21.500Z")
    assert told["attempts"][0]["ms"] == 3.5
    assert told["usage"]["source"] == "upstream"
    charge = told["charge"]
    assert [(line["unit"], line["quantity"], line["price"], line["per"]) for line in charge["lines"]] == [
        ("prompt tokens", 60, 1.0, 1_000_000),
        ("cached prompt tokens", 40, 0.5, 1_000_000),
        ("completion tokens", 10, 2.0, 1_000_000),
    ]
    assert sum(line["amountMicro"] for line in charge["lines"]) == charge["amountMicro"] == 100
    assert charge["amount"] == 0.0001


def test_an_unknown_price_is_null() -> None:
    names = ("input_micro", "cached_micro", "output_micro", "amount_micro", "input_price", "cached_price")
    charge = receipt_json(row(**dict.fromkeys((*names, "output_price"))))["charge"]
    assert (charge["amount"], charge["amountMicro"]) == (None, None)
    assert [(line["price"], line["amount"]) for line in charge["lines"]] == [(None, None)] * 3


def test_units_that_are_no_tokens() -> None:
    none = dict.fromkeys(("prompt_tokens", "cached_tokens", "completion_tokens"))
    images = receipt_json(
        row(**none, images=2, unit="image-unit", unit_price=10_000_000, unit_micro=20_000, amount_micro=20_000)
    )
    assert images["charge"]["lines"] == [
        {"unit": "image-unit", "quantity": 2, "price": 0.01, "per": 1, "amount": 0.02, "amountMicro": 20_000}
    ]
    speech = receipt_json(row(**none, characters=500, unit="tts-mcharacter", unit_price=10**9, unit_micro=500))
    assert (speech["charge"]["lines"][0]["quantity"], speech["charge"]["lines"][0]["per"]) == (500, 1_000_000)


def test_a_call_that_died_used_nothing_that_is_known() -> None:
    told = receipt_json(row(ending="interrupted", prompt_tokens=None, cached_tokens=None, completion_tokens=None))
    assert told["usage"]["promptTokens"] is None
    assert told["charge"]["lines"] == []
