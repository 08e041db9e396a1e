"""A request as a handler gets it, and a desk that has what handlers of calls look at; no server."""

from types import SimpleNamespace
from typing import Any

from proxy.call import Dialect
from proxy.wire.body import encode
from routes._inbound import Inbound
from routes._outlet import AsgiOutlet


def inbound(body: Any, *, venice: bool = False, content_type: str = "application/json") -> Inbound:
    """`body` is bytes, or what is sent as JSON."""
    data = body if isinstance(body, bytes) else encode(body)
    messages = [{"type": "http.request", "body": data, "more_body": False}]

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        raise AssertionError(f"a handler sends nothing itself: {message}")

    scope: Any = {"type": "http", "method": "POST", "headers": [(b"content-type", content_type.encode())]}
    return Inbound(scope, receive, AsgiOutlet(receive, send), Dialect.VENICE if venice else Dialect.OPENAI, "req_test")


def desk(**more: Any) -> Any:
    return SimpleNamespace(max_body=1 << 20, **more)
