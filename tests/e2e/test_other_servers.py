"""`proxy.app:create` under servers that are not ours: uvicorn with its own protocol, and granian. A streamed and a whole answer,
an error in its envelope, and an upstream that sees the client leave.
"""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest

from fakes.evil import EvilThread
from fakes.gateway import upstream
from proxy.mock import Script, fault

ROOT = Path(__file__).parents[2]
SERVERS = {
    "uvicorn": ["uvicorn", "--factory", "proxy.app:create", "--http", "h11", "--port"],
    "granian": ["granian", "--interface", "asgi", "--factory", "proxy.app:create", "--no-ws", "--port"],
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module", params=SERVERS)
def port(request: pytest.FixtureRequest, mock: EvilThread, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder, number = tmp_path_factory.mktemp(request.param), free_port()
    config = folder / "traghetto.toml"
    config.write_text(upstream(mock.url) + "\n[store]\nledger = false\n")
    child = subprocess.Popen(
        [sys.executable, "-m", *SERVERS[request.param], str(number)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TRAGHETTO_CONFIG": str(config), "TRAGHETTO_LOG": "error"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + 30
        while time.monotonic() < until:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"http://127.0.0.1:{number}/readyz", timeout=2).status_code == 200:
                    break
            assert child.poll() is None, "the server ended"
            time.sleep(0.05)
        yield number
    finally:
        child.terminate()
        child.wait(20)


def test_answers(port: int, mock: EvilThread) -> None:
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="k", max_retries=0)
    mock.clear()
    mock.script(Script(content="one two three"), Script(content="one two three"))
    with client:
        messages = [{"role": "user", "content": "hi"}]
        whole = client.chat.completions.create(model="m", messages=messages)  # type: ignore[call-overload]
        assert whole.choices[0].message.content == "one two three"
        chunks = client.chat.completions.create(model="m", messages=messages, stream=True)  # type: ignore[call-overload]
        assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "one two three"
        with pytest.raises(openai.NotFoundError) as unknown:
            client.chat.completions.create(model="nobody", messages=messages)  # type: ignore[call-overload]
    assert unknown.value.code == "model_not_found"


def test_the_upstream_sees_the_client_leave(port: int, mock: EvilThread) -> None:
    mock.clear()
    mock.script(Script(content="one two three four", faults=(fault("stall"),)))
    body = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}'
    with socket.create_connection(("127.0.0.1", port)) as client:
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        client.sendall(head % len(body) + body)
        exchange = mock.wait_for(1)
        mock.wait(exchange, "held")
        assert client.recv(65536)
        left = time.monotonic()
    assert mock.wait(exchange, "ended") - left < 0.5
    assert exchange.end in ("client_closed", "reset")
