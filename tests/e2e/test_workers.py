"""Several workers, really: keys, and calls that are asked twice, are everybody's."""

import concurrent.futures
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from fakes.evil import EvilThread, evil_thread
from fakes.gateway import upstream
from fakes.serving import ROOT

WORKERS = 3
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}


class Server:
    """`traghetto serve --workers 3`; each request is a connection of its own, so that any worker may take it."""

    def __init__(self, folder: Path, toml: str) -> None:
        self.folder = folder
        self.config = folder / "t.toml"
        self.config.write_text(f'[store]\nurl = "sqlite:///{folder}/t.db"\n{toml}')
        self.env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        self.admin = self.keys("create", "--type", "ADMIN")["apiKey"]
        self.log = (folder / "log").open("w")
        command = ["serve", "--port", "0", "--workers", str(WORKERS), "--config", str(self.config)]
        self.process = subprocess.Popen([sys.executable, "-m", "proxy", *command], env=self.env, stderr=self.log)
        self.port = 0

    def keys(self, *arguments: str) -> Any:
        command = [sys.executable, "-m", "proxy", "keys", *arguments, "--json", "--config", str(self.config)]
        return json.loads(subprocess.run(command, env=self.env, check=True, capture_output=True, timeout=60).stdout)

    def ready(self) -> None:
        deadline = time.monotonic() + 60
        while not self.port:
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline
            said = (self.folder / "log").read_text()
            if "workers on http://127.0.0.1:" in said:
                self.port = int(said.split("workers on http://127.0.0.1:")[1].split()[0])
            time.sleep(0.05)
        while not self.sockets() or len(self.sockets()) < WORKERS:
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.05)

    def sockets(self) -> list[Path]:
        """Where the workers can ask each other: the last thing that a worker opens."""
        from proxy.neighbours import meeting_place

        return list(meeting_place(self.folder / "t.db.state").glob("*.sock"))

    def ask(
        self, method: str, path: str, key: str, body: Any = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            given = {
                "authorization": f"Bearer {key}",
                "content-type": "application/json",
                "connection": "close",
                **named,
            }
            connection.request(method, path, None if body is None else json.dumps(body), given)
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()

    def many(self, count: int, *arguments: Any, **more: Any) -> list[tuple[int, dict[str, str], bytes]]:
        with concurrent.futures.ThreadPoolExecutor(count) as pool:
            return [f.result() for f in [pool.submit(self.ask, *arguments, **more) for _ in range(count)]]


@contextmanager
def serving(folder: Path, toml: str) -> Iterator[Server]:
    server = Server(folder, toml)
    try:
        server.ready()
        yield server
    finally:
        server.process.terminate()
        try:
            server.process.wait(20)
        finally:
            server.process.kill()
            server.log.close()


@pytest.fixture(scope="module")
def mock() -> Iterator[EvilThread]:
    with evil_thread(models=("*",), api_key="upstream-secret-key", ttft=0.02) as running:
        yield running


@pytest.fixture(scope="module")
def server(mock: EvilThread, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("workers"), upstream(mock.url)) as running:
        yield running


def test_a_new_key_opens_every_door_at_once_and_a_revoked_one_none_after_a_second(server: Server) -> None:
    wish = {"apiKeyType": "INFERENCE", "description": "short"}
    _, _, body = server.ask("POST", "/v1/api_keys", server.admin, wish)
    made = json.loads(body)["data"]
    assert {status for status, _, _ in server.many(24, "GET", "/v1/characters", made["apiKey"])} == {200}
    assert server.ask("DELETE", f"/v1/api_keys?id={made['id']}", server.admin)[0] == 200
    gone = time.monotonic()
    while time.monotonic() - gone < 1.0:
        server.many(8, "GET", "/v1/characters", made["apiKey"])
    assert {status for status, _, _ in server.many(24, "GET", "/v1/characters", made["apiKey"])} == {401}


def test_an_sdks_retry_finds_its_call_wherever_it_comes(server: Server, mock: EvilThread) -> None:
    """Twelve calls whose answers were lost, and their retries, each on a connection of its own."""
    before = len(mock.exchanges)
    for number in range(12):
        body = {**CHAT, "messages": [{"role": "user", "content": f"call {number}"}]}
        first = server.ask("POST", "/v1/chat/completions", server.admin, body, x_stainless_retry_count="0")
        again = server.ask("POST", "/v1/chat/completions", server.admin, body, x_stainless_retry_count="1")
        assert (first[0], again[0]) == (200, 200)
        assert again[2] == first[2]
        assert again[1]["idempotent-replayed"] == "true"
        assert again[1]["x-request-id"] == first[1]["x-request-id"]
    assert len(mock.exchanges) - before == 12


def test_one_name_is_one_call_for_all_workers(server: Server, mock: EvilThread) -> None:
    before = len(mock.exchanges)
    answers = server.many(12, "POST", "/v1/chat/completions", server.admin, CHAT, idempotency_key="one-for-all")
    assert {(status, body) for status, _, body in answers} == {(200, answers[0][2])}
    assert sum("idempotent-replayed" in headers for _, headers, _ in answers) == 11
    assert len(mock.exchanges) - before == 1


def test_failures_count_wherever_they_happen(server: Server) -> None:
    """Twenty may fail in half a minute, not twenty in each worker; and who is blocked is blocked at every door."""
    key, other = (server.keys("create", "--type", "INFERENCE")["apiKey"] for _ in range(2))
    assert {status for status, _, _ in server.many(20, "GET", "/api/v1/requests/x", key)} == {404}
    assert {status for status, _, _ in server.many(24, "GET", "/v1/characters", key)} == {200}
    assert server.ask("GET", "/api/v1/requests/x", key)[0] == 404
    blocked = server.many(24, "GET", "/v1/characters", key)
    assert {status for status, _, _ in blocked} == {429}
    assert all(20 <= int(headers["retry-after"]) <= 30 for _, headers, _ in blocked)
    assert {status for status, _, _ in server.many(24, "GET", "/v1/characters", other)} == {200}
