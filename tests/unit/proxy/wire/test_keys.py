"""POST api_keys on the wire."""

import pytest

from proxy.errors import BadRequest
from proxy.wire.body import head_of
from proxy.wire.keys import NewKey


def test_a_whole_request() -> None:
    raw = b'{"apiKeyType":"ADMIN","description":"d","consumptionLimit":{"usd":1.5,"vcu":null},"expiresAt":""}'
    asked = head_of(raw, NewKey)
    assert (asked.apiKeyType, asked.description, asked.expiresAt) == ("ADMIN", "d", "")
    assert (asked.consumptionLimit.usd, asked.consumptionLimit.vcu) == (1.5, None)


@pytest.mark.parametrize(
    ("raw", "param"),
    [
        (b'{"description":"d"}', "apiKeyType"),
        (b'{"apiKeyType":"ROOT","description":"d"}', "apiKeyType"),
        (b'{"apiKeyType":"ADMIN"}', "description"),
        (b'{"apiKeyType":"ADMIN","description":"d","more":1}', "more"),
        (b'{"apiKeyType":"ADMIN","description":"d","consumptionLimit":{"usd":-1}}', "consumptionLimit.usd"),
    ],
)
def test_what_is_wrong_is_named(raw: bytes, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        head_of(raw, NewKey)
    assert caught.value.param == param
