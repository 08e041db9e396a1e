"""api_keys: list, make, revoke. A key's text is in the answer that made it and nowhere else."""

from proxy.errors import BadRequest
from proxy.wire.body import head_of
from proxy.wire.keys import NewKey
from routes._endpoint import Answer, Desk
from routes._inbound import Inbound


async def listed(inbound: Inbound, desk: Desk) -> Answer:
    """Every key that can be used, newest first."""
    from proxy.keys.desk import listed_json

    del inbound
    store = await desk.keyring.store()
    return Answer({"object": "list", "data": [listed_json(row, {}) for row in await store.desk.list()]})


async def created(inbound: Inbound, desk: Desk) -> Answer:
    """Where nobody was asked for a key, the first one closes the door behind it."""
    from proxy.keys.desk import Wish, created_json

    inbound.json_type()
    asked = head_of(await inbound.body(desk.max_body), NewKey)
    limit = asked.consumptionLimit
    wish = Wish(
        admin=asked.apiKeyType == "ADMIN",
        description=asked.description,
        expires_at=asked.expiresAt,
        usd=limit.usd,
        diem=limit.diem,
        vcu=limit.vcu,
    )
    store = await desk.keyring.store()
    return Answer({"success": True, "data": created_json(await store.desk.create(wish))})


async def revoked(inbound: Inbound, desk: Desk) -> Answer:
    """`?id=`."""
    key_id = inbound.query().get("id")
    if not key_id:
        raise BadRequest("The query parameter 'id' is missing.", param="id")
    store = await desk.keyring.store()
    if not await store.desk.revoke(key_id):
        raise BadRequest(f"There is no API key with the id {key_id[:100]!r}.", param="id")
    return Answer({"success": True})
