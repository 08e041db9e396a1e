"""GET requests/{id}: the receipt of one call. Its own key's, and everybody's for an ADMIN key."""

from proxy.errors import NotFound
from routes import _books
from routes._endpoint import Answer, Desk
from routes._inbound import Inbound


async def retrieved(inbound: Inbound, desk: Desk) -> Answer:
    """`id` is what the call's `x-request-id` said. A call that still runs, or reached no upstream, has no receipt."""
    from proxy.ledger.receipt import receipt_json
    from proxy.ledger.usage import receipt

    call_id = str(inbound.path_params["request_id"])
    principal = inbound.principal
    whose = None if principal.admin else principal.id
    row = await _books.read(desk, lambda database: receipt(database, call_id, whose))
    if row is None:
        raise NotFound(f"There is no receipt of a request {call_id[:100]!r}.", param="id")
    return Answer(receipt_json(row))
