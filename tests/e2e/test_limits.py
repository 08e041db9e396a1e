"""Limits through the gateway: exact to the call, whoever counts: one process, the workers of a machine, machines with a Redis."""

import contextlib
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes.gateway import gateway
from fakes.services import Redis, free_port
from fakes.serving import ROOT

ECHO = '[upstreams.e]\nkind = "echo"\n[models.m]\ntargets = [{upstream = "e", model = "x"}]\n'
CHAT = json.dumps({"model": "m", "max_tokens": 4, "messages": [{"role": "user", "content": "hi"}]})


def ask(port: int) -> tuple[int, dict[str, str]]:
    """Over a connection of its own, so that any worker may get it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("POST", "/v1/chat/completions", CHAT, {"content-type": "application/json"})
        with contextlib.closing(connection.getresponse()) as answer:
            answer.read()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}
    finally:
        connection.close()


def test_a_retry_at_the_time_that_was_said_passes() -> None:
    with gateway(ECHO + "[tiers.unlimited]\ntext = {rpm = 40}\n") as gate:
        seen = [ask(gate.port)[0] for _ in range(40)]
        assert seen == [200] * 40
        status, headers = ask(gate.port)
        while status == 200:  # one came back meanwhile
            status, headers = ask(gate.port)
        assert status == 429
        wait_s = int(headers["retry-after-ms"]) / 1000
        assert 0 < wait_s <= 1.5
        assert int(headers["retry-after"]) == -(-int(headers["retry-after-ms"]) // 1000)
        time.sleep(wait_s)
        assert ask(gate.port)[0] == 200


def test_calls_at_once() -> None:
    slow = ECHO.replace('kind = "echo"', 'kind = "echo"\ndelay_s = 0.5')
    with gateway(slow + "[tiers.unlimited]\ntext = {concurrent = 1}\n") as gate:
        first = http.client.HTTPConnection("127.0.0.1", gate.port, timeout=20)
        first.request("POST", "/v1/chat/completions", CHAT, {"content-type": "application/json"})
        until = time.monotonic() + 5
        while gate.app.stays.gate.running == 0:
            assert time.monotonic() < until
            time.sleep(0.005)
        status, headers = ask(gate.port)
        assert (status, headers["retry-after"]) == (429, "1")
        with contextlib.closing(first.getresponse()) as answer:
            assert answer.status == 200
            answer.read()
        first.close()
        assert ask(gate.port)[0] == 200


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    running = Redis(tmp_path)
    running.start()
    try:
        yield running
    finally:
        running.kill()


def test_two_machines_share_one_redis_and_go_on_without_it(redis: Redis) -> None:
    toml = (
        ECHO + f'[store]\nledger = false\nredis = "{redis.url}"\nreplicas = 2\n[tiers.unlimited]\ntext = {{rpm = 12}}\n'
    )
    with gateway(toml) as one, gateway(toml) as other:
        seen = [ask((one, other)[number % 2].port)[0] for number in range(30)]
        refill = 12 * 5 / 60  # should this take five seconds
        assert 12 <= seen.count(200) <= 12 + refill
        assert set(seen) == {200, 429}
        redis.kill()
        until = time.monotonic() + 15
        while not all(gate.app.accounts.state()["limits_silent"] for gate in (one, other)):
            ask(one.port)
            ask(other.port)
            assert time.monotonic() < until
        statuses = set()
        until = time.monotonic() + 25
        while 200 not in statuses:  # half of the limit each: one call in ten seconds
            statuses.add(ask(one.port)[0])
            assert time.monotonic() < until
            time.sleep(0.2)
        assert statuses <= {200, 429, 503}


def test_the_workers_of_a_machine_share_their_limits(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "t.toml").write_text(ECHO + "[tiers.unlimited]\ntext = {rpm = 20}\n")
    command = [sys.executable, "-m", "proxy", "serve", "--config", "t.toml", "--port", str(port), "--workers", "2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
        try:
            until = time.monotonic() + 60
            while (tmp_path / "log").read_bytes().count(b"Application startup complete") < 2 and len(
                workers(tmp_path)
            ) < 2:
                assert process.poll() is None
                assert time.monotonic() < until
                time.sleep(0.05)
            began = time.monotonic()
            seen = [ask(port)[0] for _ in range(80)]
            refill = 20 * (time.monotonic() - began) / 60
            assert set(seen) == {200, 429}
            assert 20 <= seen.count(200) <= 20 + refill
        finally:
            process.terminate()
            process.wait(40)


def workers(folder: Path) -> list[Path]:
    """Each that has started has a journal."""
    return list((folder / "traghetto.db.state").glob("*.journal"))
