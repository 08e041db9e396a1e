"""A gateway with keys, a ledger, limits and prices, and one key of each kind, for tests over sockets."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2

from fakes.gateway import Gateway

BODY: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "one two"}]}
TOML = """
[upstreams.e]
kind = "echo"
[models.m]
targets = [{upstream = "e", model = "p"}]
pricing = {input_usd = 1.0, output_usd = 2.0}
[models.free]
targets = [{upstream = "e", model = "q"}]
"""
WALLET_KEY = "0x" + "11" * 32
WALLET = "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A"


class Keyed(Gateway):
    """`admin` and `user` are keys' texts; `admin_id` and `user_id` their ids."""

    admin = user = admin_id = user_id = ""

    def ask(self, method: str, path: str, key: str | None = None, **more: Any) -> httpx2.Response:
        """One request; `path` from the prefix on."""
        headers = {**more.pop("headers", {}), **({} if key is None else {"authorization": f"Bearer {key}"})}
        return httpx2.request(method, self.origin + path, headers=headers, timeout=20, **more)

    def made(self, **wish: Any) -> tuple[str, str]:
        """The text and the id of a new key."""
        wish = {"apiKeyType": "INFERENCE", "description": "", **wish}
        data = self.ask("POST", "/api/v1/api_keys", self.admin or None, json=wish).json()["data"]
        return data["apiKey"], data["id"]

    def chat(self, key: str | None = None, *, path: str = "/v1", **more: Any) -> httpx2.Response:
        return self.ask("POST", f"{path}/chat/completions", key or self.user, json=BODY | more)

    def rows(self) -> list[dict[str, Any]]:
        """Every row of the ledger, oldest first."""
        from sqlalchemy import select

        from proxy.ledger.tables import calls

        query = select(calls).order_by(calls.c.created_us)
        database = self.app.accounts.database
        assert database is not None

        async def read() -> list[dict[str, Any]]:
            if database.settled is not None:  # rows that are safe in the journal only
                await database.settled()
            return await database.read(lambda c: [dict(row) for row in c.execute(query).mappings()])

        found: Any = self.call(read())
        return list(found)


@contextlib.contextmanager
def keyed(folder: Path, more: str = "", toml: str = TOML) -> Iterator[Keyed]:
    """A running one; `more` is TOML behind its own."""
    server = Keyed(f'[store]\nurl = "sqlite:///{folder}/t.db"\n{toml}\n{more}')
    server.start()
    try:
        server.admin, server.admin_id = server.made(apiKeyType="ADMIN", description="admin")
        server.user, server.user_id = server.made(description="user")
        yield server
    finally:
        server.stop()
