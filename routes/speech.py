"""POST audio/speech."""

from proxy.call import Call, Dialect, Operation
from proxy.wire.body import fields_of, head_of
from proxy.wire.speech import MODEL, SpeechRequest, venice_only
from routes._endpoint import Desk
from routes._inbound import Inbound


async def create(inbound: Inbound, desk: Desk) -> Call:
    """Decode and check the head. Without a model, Venice's if there is one of that name, else the default."""
    inbound.json_type()
    raw = await inbound.body(desk.max_body)
    fields = fields_of(raw)
    request = head_of(raw, SpeechRequest)
    if inbound.dialect is Dialect.VENICE:
        venice_only(fields)
    request.voice_name("")
    request.model = request.model or (MODEL if MODEL in desk.house.catalogue.models else "default")
    return Call(
        id=inbound.id,
        operation=Operation.SPEECH,
        dialect=inbound.dialect,
        request=request,
        raw=raw,
        fields=fields,
        principal=inbound.principal,
        stream=bool(request.streaming or request.events),
    )
