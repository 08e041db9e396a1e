"""The engine process is killed, stopped and aborted under sixteen streams: the gateway stays, nobody hangs, all is said."""

import asyncio
import os
import signal
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from adapters.llama import client as engine_client
from fakes.engines import Streamed, client, hurry, local, processes, residents, until
from fakes.gateway import Gateway, gateway

# What runs in the child before anything else: on SIGUSR1 it fails an assertion of ggml's, in ggml's own way.
SABOTAGE = """
import ctypes, signal

def provoke(*_):
    lines = open("/proc/self/maps").read().splitlines()
    path = next(line.split()[-1] for line in lines if "libggml-base" in line)
    ctypes.CDLL(path).ggml_abort(b"ggml.c", 1, b"GGML_ASSERT(%s) failed", b"provoked")

signal.signal(signal.SIGUSR1, provoke)
"""
BLOWS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP, "assert": signal.SIGUSR1}


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    (tmp_path / "sitecustomize.py").write_text(SABOTAGE)
    honest = engine_client.child_environment

    def sabotaged() -> dict[str, str]:
        env = honest()
        return {**env, "PYTHONPATH": f"{tmp_path}{os.pathsep}{env['PYTHONPATH']}"}

    monkeypatch.setattr(engine_client, "child_environment", sabotaged)
    with gateway(local({"demo": "demo"})) as running:
        hurry(running)
        yield running
    assert processes() == {}


def pid_of(gate: Gateway) -> int | None:
    found = [r.engine.pid for r in residents(gate) if r.engine is not None and r.engine.state == "ready"]
    return found[0] if found else None


class Crowd:
    """Sixteen clients, each with one stream after the other until told to stop."""

    def __init__(self, gate: Gateway) -> None:
        self._gate = gate
        self._over = False
        self.running: set[Streamed] = set()
        self.done: list[Streamed] = []

    async def run(self, turns: list[signal.Signals]) -> list[float]:
        """Blow after blow; how long the engine was away each time, in seconds."""
        async with client(self._gate) as by:

            async def one() -> None:
                while not self._over:
                    stream = Streamed()
                    self.running.add(stream)
                    await stream.run(by, "demo", 240)
                    self.running.discard(stream)
                    self.done.append(stream)

            clients = [asyncio.create_task(one()) for _ in range(16)]
            away = [await asyncio.to_thread(self._blow, turn) for turn in turns]
            self._over = True
            await asyncio.wait_for(asyncio.gather(*clients), 60)
        return away

    def _blow(self, blow: signal.Signals) -> float:
        whole = self._whole()
        until(lambda: self._whole() >= whole + 3, 60)
        mark = time.monotonic()  # those of before may have been answered to the end, and are only being read
        until(lambda: any(s.began > mark and s.flows.is_set() and not s.ended for s in list(self.running)), 60)
        pid = until(lambda: pid_of(self._gate))
        os.kill(pid, blow)
        until(lambda: pid_of(self._gate) is None)
        at = time.monotonic()
        until(lambda: pid_of(self._gate))
        return time.monotonic() - at

    def _whole(self) -> int:
        return sum(stream.ended == "whole" for stream in list(self.done))


def storm(gate: Gateway, turns: list[signal.Signals]) -> None:
    crowd = Crowd(gate)
    away = asyncio.run(crowd.run(turns))
    endings = {ending: sum(s.ended == ending for s in crowd.done) for ending in {s.ended for s in crowd.done}}
    refused = [str(s.error) for s in crowd.done if s.ended not in ("whole", "cut")]
    assert refused == [], f"a call without a byte was not replayed: {endings}"
    assert endings["cut"] > 0
    assert statistics.median(away) <= 2.0
    assert max(away) <= 10.0  # with whatever else this machine does
    (resident,) = residents(gate)
    assert resident.users == 0
    assert resident.engine is not None
    assert resident.engine.restarts == len(turns)
    counters = gate.call(resident.engine.stats())
    assert (counters.busy_slots, counters.running, counters.waiting) == (0, 0, 0)  # type: ignore[attr-defined]
    assert len(processes()) == 1
    assert httpx.get(f"{gate.origin}/livez").status_code == 200


def test_three_blows(gate: Gateway) -> None:
    storm(gate, list(BLOWS.values()))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_fifty_blows(gate: Gateway) -> None:
    storm(gate, [list(BLOWS.values())[turn % 3] for turn in range(50)])


def test_an_assertion_is_told_to_those_it_hits(gate: Gateway) -> None:
    async def hit() -> Streamed:
        async with client(gate) as by:
            stream = Streamed()
            running = asyncio.create_task(stream.run(by, "demo", 900))
            await asyncio.wait_for(stream.flows.wait(), 20)
            pid = pid_of(gate)
            assert pid is not None
            os.kill(pid, BLOWS["assert"])
            return await asyncio.wait_for(running, 20)

    struck = asyncio.run(hit())
    assert struck.ended == "cut"
    assert "GGML_ASSERT(provoked)" in str(struck.error)


def test_memory_comes_back(gate: Gateway) -> None:
    """Of a dead process at once, of an unloaded model when it is told to go."""
    assert httpx.post(f"{gate.origin}/admin/models/load", json={"model": "demo", "wait": True}).status_code == 200
    ((first, size),) = processes().items()
    assert size > 1 << 20
    os.kill(first, signal.SIGKILL)
    until(lambda: pid_of(gate) not in (None, first))
    ((second, _),) = processes().items()
    assert second != first
    gone = httpx.post(f"{gate.origin}/admin/models/delete", json={"model": "demo", "wait": True})
    assert gone.json()["status"] == "STOPPED"
    assert processes() == {}
