"""What counting costs: the same gateway with and without keys, limits and ledger, in one run on one machine.

    python tests/bench/accounts.py [--rounds 4] [--seconds 3] [--save]

Method: every gateway on core 0, started together and asked in turns, so that each sees the same machine; upstream and load
on core 1, and so are the scribes, as Redis is. `off` asks for no key, has no limits and keeps no ledger; `on` asks for a key
with four buckets (RPM, RPD, TPM, concurrency) in process and writes every call down; `alone` is `on` with
`store.scribe = "never"`, all of it on core 0; `budget` has a budget beside them; `redis` keeps the buckets, one of them of
100,000 RPM, in a Redis on this machine; `ledger` is `off` but for the ledger, `limits` is `on` without it. Metrics are
counted by all.
`requests/s`: 16 connections, small chat, wrk where it is installed, the median of the rounds; streams of 100 chunks
alike. `CPU µs` are the gateway's own for one request, which a busy machine disturbs less than the rate; `scribe µs` those of
its scribe, which come on top, on the other core. `adds`: `ledger`
less `off`, one connection each, request by request in turns. `Redis calls`: script calls by Redis' own count.
"""

import argparse
import asyncio
import contextlib
import datetime
import json
import os
import platform
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import uvloop

sys.path.insert(0, str(Path(__file__).parent))

from gateway import BURST, SMALL, connected, rate, request, wrk_rate
from peers import GATEWAY_CORE, LOAD_CORE, ROOT, Subject, answers, family, free_port, process, upstream

LIMITS = "text = {rpm = 10000000, rpd = 1000000000, tpm = 10000000000, concurrent = 1000}"
REDIS_LIMITS = "text = {rpm = 100000, tpm = 10000000000, concurrent = 1000}"
MODEL = """
[upstreams.up]
kind = "openai"
base_url = "http://127.0.0.1:%d/v1"
api_key = "k-bench"
max_connections = 4096
[models.bench]
targets = [{upstream = "up", model = "bench"}]
pricing = {input_usd = 1.0, output_usd = 2.0}
"""
VARIANTS = {
    "off": "[auth]\nrequired = false\n[store]\nledger = false\n",
    "on": f'[auth]\nrequired = true\n[store]\nurl = "sqlite:///%s/on.db"\n[tiers.default]\n{LIMITS}\n',
    "alone": f'[auth]\nrequired = true\n[store]\nurl = "sqlite:///%s/alone.db"\nscribe = "never"\n[tiers.default]\n{LIMITS}\n',
    "limits": '[auth]\nrequired = true\n[store]\nurl = "sqlite:///%s/limits.db"\nledger = false\n'
    + f"[tiers.default]\n{LIMITS}\n",
    "budget": f'[auth]\nrequired = true\n[store]\nurl = "sqlite:///%s/budget.db"\n[tiers.default]\n{LIMITS}\n',
    "redis": '[auth]\nrequired = true\n[store]\nurl = "sqlite:///%s/redis.db"\nredis = "{redis}"\n[tiers.default]\n'
    + REDIS_LIMITS,
    "ledger": '[auth]\nrequired = false\n[store]\nurl = "sqlite:///%s/ledger.db"\n',
}
TARGETS = {"on": 0.75, "redis": 0.6}


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """On the load's core; "" where it is not installed."""
    program = shutil.which("redis-server")
    if program is None:
        yield ""
        return
    port = free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(folder)]
    with process([program, *options], LOAD_CORE):
        while not redis_says(port, b"PING").startswith(b"+PONG"):
            time.sleep(0.02)
        yield f"redis://127.0.0.1:{port}/0"


def redis_says(port: int, words: bytes) -> bytes:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 2) as line:
        line.sendall(words + b"\r\n")
        time.sleep(0.05)
        return line.recv(1 << 20)
    return b""


def script_calls(url: str) -> int:
    port = int(url.split(":")[2].split("/")[0])
    found = re.search(rb"cmdstat_evalsha:calls=(\d+)", redis_says(port, b"INFO commandstats"))
    return int(found[1]) if found else 0


@contextmanager
def gateway(name: str, text: str, folder: Path) -> Iterator[Subject]:
    config, port = folder / f"{name}.toml", free_port()
    config.write_text(text)
    headers = {}
    if "required = true" in text:
        more = ["--usd", "100000"] if name == "budget" else []
        command = [sys.executable, "-m", "proxy", "keys", "create", "--config", str(config), "--json", *more]
        made = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
        headers["authorization"] = "Bearer " + json.loads(made)["apiKey"]
    command = [sys.executable, "-m", "proxy", "serve", "--config", str(config), "--port", str(port)]
    # it is started on both cores, since of itself it has a scribe only where there is a core for one
    with process([*command, "--log-level", "warning"], f"{GATEWAY_CORE},{LOAD_CORE}", cwd=ROOT) as child:
        ready = answers(port, 30, b"GET /readyz HTTP/1.0\r\nhost: x\r\n\r\n")
        pin(child.pid, GATEWAY_CORE)
        yield Subject(name, port, [child.pid], headers, ready_s=ready)


def pin(pid: int, core: str) -> None:
    """All threads of a process; those that it starts later follow."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        os.sched_setaffinity(int(thread), {int(core)})


def beside(subject: Subject) -> Subject:
    """A gateway's own processes (its scribe), on the other core from now on."""
    pids = family(subject.pids[0])[1:]
    for pid in pids:
        pin(pid, LOAD_CORE)
    return Subject(subject.name, subject.port, pids)


async def one_rate(subject: Subject, body: bytes, seconds: float, folder: Path) -> float:
    if body is SMALL and shutil.which("wrk"):
        return await asyncio.to_thread(wrk_rate, subject, body, 16, seconds, folder)
    return await rate(subject, body, 16, seconds)


async def in_turns(one: Subject, other: Subject, rounds: int) -> dict[str, float]:
    """What `one` takes longer than `other`, µs: medians and 99th percentiles, request by request."""
    clients = [(await connected(s.port), request(s, SMALL), list[float]()) for s in (one, other)]
    for index in range(rounds + 100):
        for client, payload, times in clients:
            began = time.perf_counter_ns()
            await client.ask(payload)
            if index >= 100:
                times.append((time.perf_counter_ns() - began) / 1000)
    for client, _, _ in clients:
        client.transport.abort()
    mine, theirs = sorted(clients[0][2]), sorted(clients[1][2])
    p99 = int(rounds * 0.99)
    return {
        "p50": statistics.median(mine) - statistics.median(theirs),
        "p99": mine[p99] - theirs[p99],
        "off_p50": statistics.median(theirs),
        "off_p99": theirs[p99],
    }


async def measured(subjects: dict[str, Subject], rounds: int, seconds: float, folder: Path, redis: str) -> str:
    rates: dict[str, list[float]] = {name: [] for name in subjects}
    costs: dict[str, list[float]] = {name: [] for name in subjects}
    streams: dict[str, list[float]] = {name: [] for name in subjects}
    scribes: dict[str, Subject] = {}
    extra: dict[str, list[float]] = {name: [] for name in subjects}
    for name, subject in subjects.items():
        await rate(subject, SMALL, 16, 1.5)
        scribes[name] = beside(subject)
    calls = 0.0
    for number in range(rounds):
        names = list(subjects)[:: 1 if number % 2 == 0 else -1]
        for name in names:
            before, cpu, more = (
                script_calls(redis) if name == "redis" else 0,
                subjects[name].cpu_s(),
                scribes[name].cpu_s(),
            )
            rates[name].append(await one_rate(subjects[name], SMALL, seconds, folder))
            costs[name].append((subjects[name].cpu_s() - cpu) / (rates[name][-1] * seconds) * 1e6)
            extra[name].append((scribes[name].cpu_s() - more) / (rates[name][-1] * seconds) * 1e6)
            if name == "redis":
                calls += (script_calls(redis) - before) / (rates[name][-1] * seconds) / rounds
        for name in names:
            streams[name].append(await one_rate(subjects[name], BURST, seconds / 2, folder))
        print(f"round {number + 1}", {n: (round(rates[n][-1]), round(costs[n][-1])) for n in names}, flush=True)
    adds = await in_turns(subjects["ledger"], subjects["off"], 3000)
    lines = [
        "| | requests/s | of `off` | target | CPU µs | scribe µs | streams/s | of `off` | ready s |",
        "|---" * 9 + "|",
    ]
    # each round by itself: what the machine did meanwhile hit all of them alike
    for name in subjects:
        of = statistics.median(a / b for a, b in zip(rates[name], rates["off"], strict=True))
        streams_of = statistics.median(a / b for a, b in zip(streams[name], streams["off"], strict=True))
        target = f"≥ {TARGETS[name]}" if name in TARGETS else ""
        lines.append(
            f"| {name} | {statistics.median(rates[name]):,.0f} | {of:.2f} | {target} | "
            f"{statistics.median(costs[name]):.0f} | {statistics.median(extra[name]) or 0:.0f} | "
            f"{statistics.median(streams[name]):,.0f} | {streams_of:.2f} | {subjects[name].ready_s:.2f} |"
        )
    lines += [
        "",
        f"The ledger adds {adds['p50'] / 1000:.2f} ms at p50 (target ≤ 1) and {adds['p99'] / 1000:.2f} ms at ",
    ]
    lines[-1] += (
        f"p99 (target ≤ 3) to {adds['off_p50'] / 1000:.2f} and {adds['off_p99'] / 1000:.2f} ms, at one connection."
    )
    if "redis" in subjects:
        lines += ["", f"Redis calls for each request on a 100,000-RPM bucket: {calls:.3f} (target ≤ 0.1)."]
    return "\n".join(lines)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=4)
    options.add_argument("--seconds", type=float, default=2.0)
    options.add_argument("--only", default="", help="variants beside `off` and `ledger`, by comma")
    options.add_argument("--save", action="store_true", help="write the table under tests/bench/results/")
    chosen = options.parse_args()
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {int(LOAD_CORE)})
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        port = stack.enter_context(upstream())
        redis = stack.enter_context(redis_server(folder))
        subjects: dict[str, Subject] = {}
        for variant, text in VARIANTS.items():
            if (variant == "redis" and not redis) or (
                chosen.only and variant not in {"off", "ledger", *chosen.only.split(",")}
            ):
                continue
            filled = MODEL % port + text.replace("%s", name).replace("{redis}", redis)
            subjects[variant] = stack.enter_context(gateway(variant, filled, folder))
        said = uvloop.run(measured(subjects, chosen.rounds, chosen.seconds, folder, redis))
    print(said)
    if chosen.save:
        day = datetime.date.today().isoformat()
        machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
        path = Path(__file__).parent / "results" / f"{day}-accounts.md"
        path.write_text(f"# What counting costs, {day}\n\nMachine: {machine}.\n\n{said}\n\n## Method\n\n{__doc__}")
        print(f"written to {path}")


if __name__ == "__main__":
    main()
