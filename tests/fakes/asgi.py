"""One ASGI request without a server: what an app sent back, or that the client left."""

import asyncio
import json
from typing import Any


class Answered:
    """Status, headers (lower-case names) and body."""

    def __init__(self, messages: list[Any]) -> None:
        self.status: int = messages[0]["status"]
        self.headers = {key.decode(): value.decode("latin-1") for key, value in messages[0]["headers"]}
        self.body = b"".join(message.get("body", b"") for message in messages[1:])

    def json(self) -> Any:
        return json.loads(self.body)


async def asked(
    app: Any,
    method: str = "GET",
    path: str = "/",
    body: Any = None,
    *,
    headers: dict[str, str] | None = None,
    params: dict[str, Any] | None = None,
    leaves: asyncio.Event | None = None,
) -> Answered:
    """`body` is bytes, or sent as JSON; `leaves` is when the client disconnects (never, without it)."""
    path, _, query = path.partition("?")
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    waiting = [{"type": "http.request", "body": data, "more_body": False}]
    sent: list[Any] = []

    async def receive() -> Any:
        if waiting:
            return waiting.pop()
        await (leaves or asyncio.Event()).wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    given = {"content-type": "application/json", **(headers or {})}
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(key.encode(), value.encode()) for key, value in given.items()],
        "path_params": params or {},
    }
    await app(scope, receive, send)
    assert sent[-1]["more_body"] is False
    return Answered(sent)
