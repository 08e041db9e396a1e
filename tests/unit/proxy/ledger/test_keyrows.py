"""A key's row; its SQL is asked in tests/contract/test_ledger.py."""

from proxy.ledger.keyrows import KeyRow


def test_active_until_it_ends() -> None:
    row = KeyRow("id", b"", "", False, "", 0, expires_us=100)
    assert row.active(99)
    assert not row.active(100)
    assert KeyRow("id", b"", "", False, "", 0).active(1 << 60)
    assert not KeyRow("id", b"", "", False, "", 0, revoked_us=5).active(6)
