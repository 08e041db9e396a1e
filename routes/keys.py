"""api_keys: list, make, revoke, and make one for a wallet. A key's text is in the answer that made it and nowhere else."""

import time
from typing import TYPE_CHECKING, Any

from proxy.errors import BadRequest, NotSupported
from proxy.wire.body import head_of
from proxy.wire.keys import NewKey, NewWalletKey
from routes import _books
from routes._endpoint import Answer, Desk
from routes._inbound import Inbound

if TYPE_CHECKING:
    from proxy.keys.desk import Wish
    from proxy.keys.web3 import Web3Desk

WEEK_US = 7 * 86_400_000_000


async def listed(inbound: Inbound, desk: Desk) -> Answer:
    """Every key that can be used, newest first, with what it spent in the last seven days."""
    from proxy.keys.desk import listed_json

    del inbound
    store = await desk.keyring.store()
    rows = await _books.guarded(store.desk.list())
    spent = await _spent(desk, [row.id for row in rows])
    trailing = desk.accounts.budgets.trailing
    return Answer({"object": "list", "data": [listed_json(row, trailing(spent.get(row.id, 0))) for row in rows]})


async def _spent(desk: Desk, ids: list[str]) -> dict[str, int]:
    """Micro-USD of a week by key; nothing where no ledger is kept."""
    from proxy.ledger.usage import spent

    if desk.accounts.database is None:
        return {}
    since = time.time_ns() // 1000 - WEEK_US
    return await _books.read(desk, lambda database: spent(database, since, ids))


async def created(inbound: Inbound, desk: Desk) -> Answer:
    """Where nobody was asked for a key, the first one closes the door behind it."""
    inbound.json_type()
    asked = head_of(await inbound.body(desk.max_body), NewKey)
    return await _made(desk, _wish(asked))


async def revoked(inbound: Inbound, desk: Desk) -> Answer:
    """`?id=`."""
    key_id = inbound.query().get("id")
    if not key_id:
        raise BadRequest("The query parameter 'id' is missing.", param="id")
    store = await desk.keyring.store()
    if not await _books.guarded(store.desk.revoke(key_id)):
        raise BadRequest(f"There is no API key with the id {key_id[:100]!r}.", param="id")
    return Answer({"success": True})


async def web3_token(inbound: Inbound, desk: Desk) -> Answer:
    """A token for a wallet to sign; it lives five minutes."""
    del inbound
    return Answer({"success": True, "data": {"token": (await _web3(desk)).token()}})


async def web3_created(inbound: Inbound, desk: Desk) -> Answer:
    """A key for a wallet of the configuration that signed a token of ours."""
    inbound.json_type()
    asked = head_of(await inbound.body(desk.max_body), NewWalletKey)
    web3 = await _web3(desk)
    wish = _wish(asked)
    (await desk.keyring.store()).desk.check(wish)  # before the token is spent on what cannot be made
    await _books.guarded(web3.accept(asked.token, asked.address, asked.signature))
    return await _made(desk, wish)


async def _web3(desk: Desk) -> "Web3Desk":
    """Raises NotSupported: no wallet may."""
    from proxy.keys.web3 import Web3Desk

    wallets = desk.house.config.auth.wallets
    if not wallets:
        raise NotSupported("Web3 key generation is not enabled on this server (auth.wallets is empty).")
    store = await desk.keyring.store()
    return Web3Desk(store.rows, store.pepper, wallets)


def _wish(asked: NewKey) -> "Wish":
    from proxy.keys.desk import Wish

    limit = asked.consumptionLimit
    return Wish(
        admin=asked.apiKeyType == "ADMIN",
        description=asked.description,
        expires_at=asked.expiresAt,
        usd=limit.usd,
        diem=limit.diem,
        vcu=limit.vcu,
    )


async def _made(desk: Desk, wish: "Wish") -> Answer:
    from proxy.keys.desk import created_json

    store = await desk.keyring.store()
    data: dict[str, Any] = created_json(await _books.guarded(store.desk.create(wish)))
    return Answer({"success": True, "data": data})
