"""Lines of a bill; the questions themselves are asked in tests/contract/test_ledger.py."""

import csv
import io

from proxy.ledger.usage import COLUMNS, Bill, Line, as_csv, entry, timestamp


def line(**more: object) -> Line:
    given = {
        "call_id": "chatcmpl-1",
        "created_us": 1_700_000_000_123_456,
        "kind": "output",
        "model": "llama-3.3-70b",
        "operation": "chat",
        "unit": None,
        "quantity": 227,
        "price": 2_800_000_000,
        "amount_micro": 636,
        "currency": "USD",
        "prompt_tokens": 339,
        "completion_tokens": 227,
        "total_ms": 2964.4,
    }
    return Line(**{**given, **more})  # type: ignore[arg-type]


def test_an_entry_is_venices() -> None:
    assert entry(line()) == {
        "timestamp": "2023-11-14T22:13:20.123Z",
        "sku": "llama-3.3-70b-llm-output-mtoken",
        "units": 0.000227,
        "pricePerUnitUsd": 2.8,
        "amount": -0.000636,
        "currency": "USD",
        "notes": "API Inference",
        "inferenceDetails": {
            "requestId": "chatcmpl-1",
            "promptTokens": 339,
            "completionTokens": 227,
            "inferenceExecutionTime": 2964,
        },
    }


def test_units_that_are_no_tokens() -> None:
    image = entry(line(kind="unit", unit="image-unit", model="flux", quantity=2, price=10_000_000, amount_micro=20_000))
    assert (image["sku"], image["units"], image["pricePerUnitUsd"]) == ("flux-image-unit", 2, 0.01)
    assert image["inferenceDetails"]["promptTokens"] is None
    voice = line(kind="unit", unit="tts-mcharacter", model="kokoro", quantity=500)
    assert (voice.sku, entry(voice)["units"]) == ("kokoro-tts-mcharacter", 0.0005)
    assert line(kind="cached").sku == "llama-3.3-70b-llm-cache-input-mtoken"


def test_csv_can_be_read_back_and_starts_no_formula() -> None:
    text = as_csv([line(), line(model='=1+1,"x"\n', total_ms=None)])
    first, second = csv.DictReader(io.StringIO(text, newline=""))
    assert tuple(first) == COLUMNS
    assert (first["units"], first["amount"], first["inferenceExecutionTime"]) == ("0.000227", "-0.000636", "2964")
    assert second["sku"].startswith('\'=1+1,"x"\n')
    assert second["inferenceExecutionTime"] == ""


def test_pages() -> None:
    assert Bill([], 0, 200, 1).pages == 0
    assert Bill([], 401, 200, 1).pages == 3


def test_timestamps_have_milliseconds_and_z() -> None:
    assert timestamp(0) == "1970-01-01T00:00:00.000Z"
