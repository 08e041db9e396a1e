"""Canaries: secrets that must be nowhere but where they belong. The server runs as a process; everything that it leaves behind
is read: standard error at the finest level, database files, journals, the limits' file, metrics, and every answer."""

import contextlib
import http.client
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fakes.counting import counting
from fakes.services import free_port
from fakes.serving import ROOT

UPSTREAM_KEY = "canary-upstream-4f1c9a77"
REDIS_PASSWORD = "canary-redis-0b55e1d2"
PROMPT = "canary-prompt-93ab6c10"
WRONG_KEY = "tgt_" + "0" * 22 + "_" + "canaryWrongKey0000000000000000000000000000a"


def made_key(folder: Path, *more: str) -> str:
    command = [sys.executable, "-m", "proxy", "keys", "create", "--config", "t.toml", "--json", *more]
    ran = subprocess.run(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, check=True
    )
    assert ran.stderr == b""
    key: str = json.loads(ran.stdout)["apiKey"]
    return key


def everything(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file() and f.name != "t.toml"}


def test_canaries_are_nowhere(tmp_path: Path) -> None:
    port = free_port()
    with counting() as double:
        (tmp_path / "t.toml").write_text(
            f'[server]\nport = {port}\n[store]\nredis = "redis://:{REDIS_PASSWORD}@127.0.0.1:9/0"\n[routing]\nretries = 0\n'
            f'[upstreams.up]\nkind = "openai"\nbase_url = "{double.url}"\napi_key = "{UPSTREAM_KEY}"\n'
            '[upstreams.gone]\nkind = "openai"\nbase_url = "http://127.0.0.1:9/v1"\n'
            f'api_key = "{UPSTREAM_KEY}"\n[models.m]\ntargets = [{{upstream = "up", model = "x"}}]\n'
            '[models.lost]\ntargets = [{upstream = "gone", model = "x"}]\n[tiers.default]\n"model:lost" = {rpm = 1000}\n'
        )
        key, admin = made_key(tmp_path), made_key(tmp_path, "--type", "ADMIN")
        answers = served(tmp_path, port, key, admin)
    secrets = {
        "an inference key": key, "an admin key": admin, "a key's secret part": key.rpartition("_")[2],
        "a wrong key": WRONG_KEY, "the upstream's key": UPSTREAM_KEY, "Redis' password": REDIS_PASSWORD,
        "a prompt": PROMPT,
    }  # fmt: skip
    places = {**everything(tmp_path), **answers}
    assert {"log", "t.db", "t.db.pepper"} <= {name.replace("traghetto.db", "t.db") for name in places}
    assert b"finished" in b"".join(data for name, data in places.items() if "db" in name), "the ledger was written"
    found = [
        (what, where) for what, secret in secrets.items() for where, data in places.items() if secret.encode() in data
    ]
    assert found == []


def served(folder: Path, port: int, key: str, admin: str) -> dict[str, bytes]:
    """Good calls and bad ones; every answer by its name."""
    log = (folder / "log").open("wb")
    command = [sys.executable, "-m", "proxy", "serve", "--config", "t.toml", "--log-level", "debug"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TRAGHETTO_LOG_FORMAT": "json"}
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    answers: dict[str, bytes] = {}

    def ask(method: str, path: str, key: str, body: object = None) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            data = json.dumps(body).encode() if body is not None else None
            headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
            connection.request(method, path, data, headers)
            with contextlib.closing(connection.getresponse()) as answer:
                answers[f"{len(answers)} {method} {path}"] = str(answer.getheaders()).encode() + answer.read()
                return answer.status
        finally:
            connection.close()

    try:
        ready(port, process)
        chat = {"model": "m", "messages": [{"role": "user", "content": PROMPT}]}
        assert ask("POST", "/v1/chat/completions", key, chat) == 200
        assert ask("POST", "/v1/chat/completions", key, {**chat, "stream": True}) == 200
        assert ask("POST", "/api/v1/chat/completions", WRONG_KEY, chat) == 401
        assert ask("POST", "/api/v1/chat/completions", key, {**chat, "model": "lost"}) in (429, 502, 503)
        assert ask("POST", "/v1/chat/completions", key, {**chat, "model": "nothing"}) == 404
        assert ask("POST", "/v1/chat/completions", key, {**chat, "temperature": "hot"}) == 400
        assert ask("GET", "/v1/api_keys", admin) == 200
        assert ask("GET", "/v1/api_keys", key) == 403
        assert ask("GET", "/metrics", admin) == 200
        assert ask("GET", "/health", key) == 200
        assert ask("GET", "/openapi.json", key) == 200
    finally:
        process.terminate()
        process.wait(30)
        log.close()
    return answers


def ready(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 40
    while time.monotonic() < until:
        assert process.poll() is None, "it ended"
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/livez")
            with contextlib.closing(connection.getresponse()) as answer:
                if answer.status == 200:
                    connection.close()
                    return
        connection.close()
        time.sleep(0.05)
    pytest.fail("it is not ready")
