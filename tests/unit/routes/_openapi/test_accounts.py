"""What the desk of keys answers decodes as the types that the document shows."""

import msgspec

from proxy.keys.desk import Created, created_json, listed_json
from proxy.ledger.keyrows import KeyRow
from routes._openapi.accounts import KeyList, KeyMade


def test_keys() -> None:
    row = KeyRow(
        id="k", mac=b"m", last6="123456", admin=True, description="d", created_us=1, tier="default", usd_micro=5
    )
    made = {"success": True, "data": created_json(Created("tgt_secret", row))}
    assert msgspec.json.decode(msgspec.json.encode(made), type=KeyMade).data.consumptionLimit.usd == 5e-6
    listed = {"object": "list", "data": [listed_json(row, {"usd": "1.5"})]}
    (key,) = msgspec.json.decode(msgspec.json.encode(listed), type=KeyList).data
    assert isinstance(key.usage, msgspec.Struct)
    assert key.usage.trailingSevenDays.usd == "1.5"
