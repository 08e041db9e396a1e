"""The gateway as it starts without a configuration file, with what makes every route answer: keys, a ledger, a wallet, a
character. No key is ever blocked for its mistakes: tests make many.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import httpx
from eth_account import Account

from adapters.options import KINDS, USUAL_KEYS
from fakes.gateway import Gateway
from proxy import config, defaults

WALLET = Account.from_key("0x" + "22" * 32)


class Offline(Gateway):
    """`key` is an ADMIN key's text."""

    key = ""

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key}"}

    def client(self, base: str = "") -> httpx.Client:
        return httpx.Client(base_url=self.origin + base, headers=self.headers, timeout=60)


@contextlib.contextmanager
def offline(folder: Path) -> Iterator[Offline]:
    """`folder` gets the database."""
    gate = Offline("")
    tree = defaults.tree(USUAL_KEYS, {})
    tree["store"] = {"url": f"sqlite:///{folder}/offline.db"}
    tree["auth"] = {"wallets": [WALLET.address]}
    tree["limits"] = {"abuse": {"failures": 0}}
    tree["characters"] = {"gondolier": {"name": "Gondolier", "system_prompt": "You sing.", "tags": ["venice"]}}
    gate.config = config.decode(tree, KINDS, {}, file="the embedded default")
    gate.start()
    try:
        made = httpx.post(gate.v1 + "/api_keys", json={"apiKeyType": "ADMIN", "description": "for tests"}, timeout=30)
        assert made.status_code == 200, made.text
        gate.key = made.json()["data"]["apiKey"]
        yield gate
    finally:
        gate.stop()
