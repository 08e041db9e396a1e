"""Every line of the route table asks for a key, but for a short list that stands here, spelled out."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from adapters.options import KINDS
from proxy import config as configuration
from proxy.app import Application
from routes import PREFIXES, TABLE

# Anybody may ask these. A line added here is a decision about what strangers learn.
OPEN = {
    *(("GET", f"{prefix}/models") for prefix in PREFIXES),
    *(("GET", f"{prefix}/models/{{model_id:path}}") for prefix in PREFIXES),
    *(("GET", f"{prefix}/models/traits") for prefix in PREFIXES),
    *(("GET", f"{prefix}/models/compatibility_mapping") for prefix in PREFIXES),
    *(("GET", f"{prefix}/image/styles") for prefix in PREFIXES),
    *(("GET", path) for path in ("/livez", "/readyz", "/health", "/openapi.json", "/docs")),
    # An upstream's report of a finished job: its signature is checked by the adapter, and it only wakes who waits.
    ("POST", "/webhooks/{upstream:str}"),
    # Venice's way for a wallet to get a token to sign, before it has any key. The POST that makes the key is signed.
    *(("GET", f"{prefix}/api_keys/generate_web3_key") for prefix in PREFIXES),
    *(("POST", f"{prefix}/api_keys/generate_web3_key") for prefix in PREFIXES),
}
CREDENTIALS: dict[str, list[tuple[bytes, bytes]]] = {
    "none": [],
    "wrong": [(b"authorization", b"Bearer sk-of-nobody")],
    "wrong x-api-key": [(b"x-api-key", b"sk-of-nobody")],
    "no scheme": [(b"authorization", b"sk-of-nobody")],
    "empty": [(b"authorization", b"Bearer ")],
}


def doors() -> list[tuple[str, str]]:
    return [(r.method, p + r.path) for r in TABLE for p in (PREFIXES if r.prefixed else ("",))]


async def status_of(app: Any, method: str, template: str, headers: list[tuple[bytes, bytes]]) -> int:
    """One request, straight into the ASGI app."""
    path = "/".join("some-id" if part.startswith("{") else part for part in template.split("/"))
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http"}
    scope |= {"path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "state": {}}
    scope |= {"headers": [*headers, (b"content-type", b"application/json"), (b"content-length", b"2")]}
    scope |= {"client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8000)}
    messages = [{"type": "http.request", "body": b"{}", "more_body": False}]
    statuses: list[int] = []

    async def receive() -> Any:
        if messages:
            return messages.pop()
        return await asyncio.Event().wait()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    await app(scope, receive, send)
    return statuses[0]


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Any]:
    """The application with keys required and none given out, started as a server starts it."""
    text = f'[auth]\nrequired = true\n[store]\nurl = "sqlite:///{folder}/t.db"\n[upstreams.echo]\nkind = "echo"\n'
    text += '[models.m]\ntargets = [{upstream = "echo", model = "m"}]\n'
    app = Application(configuration.loads(text, KINDS, {})).asgi
    said: asyncio.Queue[Any] = asyncio.Queue()
    told: asyncio.Queue[Any] = asyncio.Queue()
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    life = asyncio.create_task(app(scope, told.get, said.put))  # type: ignore[arg-type]
    await told.put({"type": "lifespan.startup"})
    assert (await said.get())["type"] == "lifespan.startup.complete"
    yield app
    await told.put({"type": "lifespan.shutdown"})
    assert (await said.get())["type"] == "lifespan.shutdown.complete"
    await life


@pytest.mark.asyncio
async def test_every_door_but_the_open_ones_asks_for_a_key(tmp_path: Path) -> None:
    wrong = []
    async with running(tmp_path) as app:
        for method, path in doors():
            for name, headers in CREDENTIALS.items():
                status = await status_of(app, method, path, headers)
                if (status == 401) == ((method, path) in OPEN):
                    wrong.append(f"{method} {path}, key {name}: {status}")
    assert wrong == []


def test_the_table_is_walked_whole() -> None:
    """No path twice, and the walk sees both prefixes."""
    walked = doors()
    assert len(walked) == len(set(walked)) > 12
    assert {("POST", f"{prefix}/chat/completions") for prefix in PREFIXES} <= set(walked)


@pytest.mark.asyncio
async def test_what_is_not_in_the_table_is_not_there(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        for path in ("/v1", "/admin", "/v1/chat", "/schema", "/v1/docs", "/api/v1/admin/reload"):
            assert await status_of(app, "GET", path, []) == 404
