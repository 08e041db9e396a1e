"""A Call with its Plan, as the stages before an adapter would have made it, for tests of one adapter alone."""

import json
from typing import Any

from proxy.call import ANYBODY, Call, Dialect, Operation, Plan, Target
from proxy.catalogue import Catalogue, Model
from proxy.features import features_of
from proxy.wire.body import fields_of, head_of
from proxy.wire.chat import ChatRequest

NOBODY = Catalogue(models={}, traits={}, mappings={}, characters={}, upstreams=frozenset())


def chat_call(target: Target, *, suffix: dict[str, Any] | None = None, **body: Any) -> Call:
    """A chat at `target`, of a model that callers know as `m`. `suffix` are the features of the model's name."""
    raw = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hello"}]} | body).encode()
    request = head_of(raw, ChatRequest)
    call = Call(
        id="call-1",
        operation=Operation.CHAT,
        dialect=Dialect.OPENAI,
        request=request,
        raw=raw,
        fields=fields_of(raw),
        principal=ANYBODY,
        stream=bool(request.stream),
    )
    model = Model(id="m", type="text", name="m", targets=(target,))
    features = features_of(request.venice_parameters, suffix or {}, NOBODY)
    call.plan = Plan(model, (target,), "m", "id", features)
    return call


async def drained(reply: Any) -> bytes:
    """Everything that a Reply gives until its end."""
    out = b""
    while data := await reply.next():
        out += data
    return out
