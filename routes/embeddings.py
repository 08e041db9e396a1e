"""POST embeddings."""

from proxy.call import Call, Dialect, Operation
from proxy.wire.body import fields_of, head_of
from proxy.wire.embeddings import EmbeddingsRequest, inputs, venice_only
from routes._endpoint import Desk
from routes._inbound import Inbound


async def create(inbound: Inbound, desk: Desk) -> Call:
    """Decode and check the head; the inputs travel with it."""
    inbound.json_type()
    raw = await inbound.body(desk.max_body)
    fields = fields_of(raw)
    request = head_of(raw, EmbeddingsRequest)
    if inbound.dialect is Dialect.VENICE:
        venice_only(request, fields)
    inputs(request)
    return Call(
        id=inbound.id,
        operation=Operation.EMBEDDINGS,
        dialect=inbound.dialect,
        request=request,
        raw=raw,
        fields=fields,
        principal=inbound.principal,
    )
