"""Calls for unit tests, as the chat route makes them: a real body, decoded as it is there, and a plan over one model."""

import json
from typing import Any

from proxy.call import ANYBODY, Call, Dialect, Operation, Plan, Principal, Target
from proxy.catalogue import Model
from proxy.features import NONE, Features
from proxy.wire.body import fields_of, head_of
from proxy.wire.chat import ChatRequest


def model(id: str = "ours", **more: Any) -> Model:
    targets = more.pop("targets", (Target("up", "theirs"),))
    return Model(id=id, type=more.pop("type", "text"), name=more.pop("name", id), targets=targets, **more)


def chat(
    text: str = "Where does the ferry go?",
    *,
    plan: Model | None = None,
    features: Features = NONE,
    principal: Principal = ANYBODY,
    **body: Any,
) -> Call:
    """A chat call; keywords are keys of its body."""
    raw = json.dumps({"model": "ours", "messages": [{"role": "user", "content": text}], **body}).encode()
    request = head_of(raw, ChatRequest)
    call = Call(
        id="req_1",
        operation=Operation.CHAT,
        dialect=Dialect.OPENAI,
        request=request,
        raw=raw,
        fields=fields_of(raw),
        principal=principal,
        stream=bool(request.stream),
    )
    served = plan or model()
    call.plan = Plan(served, served.targets, request.model, "id", features)
    return call
