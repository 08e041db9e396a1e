"""When a key ends."""

import pytest

from proxy.errors import BadRequest
from proxy.keys.expiry import parse

NOW = 1_700_000_000_000_000  # 2023-11-14T22:13:20Z


@pytest.mark.parametrize(
    ("text", "us"),
    [
        ("", None),
        (None, None),
        ("2023-11-15", 1_700_006_400_000_000),
        ("2023-11-14T22:13:21Z", NOW + 1_000_000),
        ("2023-11-14T22:13:20.001Z", NOW + 1000),
        ("2096-02-29", 3_981_312_000_000_000),
    ],
)
def test_the_three_forms(text: str | None, us: int | None) -> None:
    assert parse(text, NOW) == us


@pytest.mark.parametrize(
    "text",
    [
        *("tomorrow", "2023-11-15T00:00:00", "2023-11-15T00:00:00+00:00", "2023-11-15T00:00:00.1Z"),
        *("2023-11-15 00:00:00Z", "20231115", "2023-02-30", "2023-11-15T25:00:00Z", "2023-11-14"),
        *("2023-11-14T22:13:20Z", "2023-11-15\n", "٢٠٢٣-١١-١٥"),
    ],
)
def test_everything_else_is_refused_and_named(text: str) -> None:
    with pytest.raises(BadRequest) as told:
        parse(text, NOW)
    assert told.value.param == "expiresAt"
