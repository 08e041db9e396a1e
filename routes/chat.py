"""POST chat/completions."""

from proxy.call import Call, Dialect, Operation
from proxy.wire.body import fields_of, head_of
from proxy.wire.chat import ChatRequest, VeniceChatRequest, consistent, venice_only
from routes._endpoint import Desk
from routes._inbound import Inbound


async def create(inbound: Inbound, desk: Desk) -> Call:
    """Decode and check the head; the rest travels as bytes."""
    inbound.json_type()
    raw = inbound.at_hand(desk.max_body)
    if raw is None:
        raw = await inbound.body(desk.max_body)
    fields = fields_of(raw)
    venice = inbound.dialect is Dialect.VENICE
    request = head_of(raw, VeniceChatRequest if venice else ChatRequest)
    if venice:
        venice_only(request, fields)
    consistent(request)
    return Call(
        id=inbound.id,
        operation=Operation.CHAT,
        dialect=inbound.dialect,
        request=request,
        raw=raw,
        fields=fields,
        principal=inbound.principal,
        stream=bool(request.stream),
    )
