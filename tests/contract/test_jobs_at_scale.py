"""Many jobs at once: an upstream's read limit is kept and nobody waits longer than it makes him; nothing is left behind.

The doubles and the gateway run in this process over real sockets, so that tasks, sockets, permits and file handles can be
counted on both sides.
"""

import asyncio
import contextlib
import json
import os
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from adapters.options import VaikerAIOptions
from adapters.vaikerai.adapter import VaikerAI, build
from fakes.calls import chat_call, drained
from fakes.doubles import faults
from fakes.doubles.aime import AimeDouble
from fakes.doubles.bytez import BytezDouble
from fakes.doubles.clockwork import Pace
from fakes.doubles.novita import NovitaDouble
from fakes.doubles.vaikerai import VaikerDouble
from fakes.gateway import Gateway, gateway
from proxy.call import Target

LLAMA = Target("up", "meta/meta-llama-3-70b-instruct")
PACE = Pace(queue=0.4, first=0.2, token=0.1)

# -- 200 at once on an upstream that counts its reads -------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize("allowed", [400.0, pytest.param(50.0, marks=pytest.mark.slow)])
async def test_two_hundred_jobs_keep_the_limit_and_wait_no_longer_than_it_makes_them(allowed: float) -> None:
    """50 reads a second are what VaikerAI allows; 400 show the same in an eighth of the time."""
    async with VaikerDouble(reads_per_min=allowed * 60, creates_per_min=60_000, pace=PACE) as double:
        options = VaikerAIOptions(
            base_url=double.base_url, api_key=double.key, reads_per_s=allowed, max_connections=256
        )
        upstream = build("up", options)
        try:
            late = await asyncio.gather(*(one_of_many(double, upstream, number) for number in range(200)))
        finally:
            await upstream.aclose()
    reads = double.seen("GET", "/predictions/")
    assert Counter(seen.status for seen in double.requests) == {200: len(reads) + 1, 201: 200}, "no 429"
    assert (double.created, double.cancelled) == (200, 0)
    busiest = max(sum(1 for r in reads if seen.at <= r.at < seen.at + 1) for seen in reads)
    assert busiest <= allowed / 2 + 8, "reads come evenly, not in bursts that happen to pass"
    # Half of what is allowed is used, so that others with this key have the rest; a busy machine may manage less.
    pace = min(allowed / 2, len(reads) / (reads[-1].at - reads[0].at))
    assert pace >= allowed / 8, "what is allowed is used"
    assert sorted(late)[int(0.95 * len(late))] <= 200 / pace + 0.5


async def one_of_many(double: VaikerDouble, upstream: VaikerAI, number: int) -> float:
    """Seconds from the end of its job upstream to its answer here."""
    words = f"job-{number}"
    reply = await upstream.open(chat_call(LLAMA, messages=[{"role": "user", "content": words}]), LLAMA)
    answered = time.monotonic()
    assert json.loads(await drained(reply))["choices"][0]["message"]["content"] == f"You said: {words}"
    (job,) = [job for job in double.jobs.values() if job.given["prompt"] == words]
    return answered - job.timeline.marks[-1]


# -- thousands with faults and leavers ----------------------------------------------------------------------------------

TOML = """
[upstreams.vk]
kind = "vaikerai"
base_url = "{vk.base_url}"
api_key = "{vk.key}"
file_hosts = ["{files}"]
stream_hosts = ["{streams}"]
reads_per_s = 5000
timeout = {{connect_s = 2, first_byte_s = 1, between_bytes_s = 1, total_s = 6}}

[upstreams.aime]
kind = "aime"
base_url = "{aime.base_url}"
api_key = "{aime.key}"
reads_per_s = 5000
timeout = {{connect_s = 2, first_byte_s = 1, between_bytes_s = 1, total_s = 6}}

[upstreams.novita]
kind = "novita"
base_url = "{novita.base_url}"
api_key = "{novita.key}"
file_hosts = ["{pictures}"]
reads_per_s = 5000
timeout = {{connect_s = 2, first_byte_s = 1, between_bytes_s = 1, total_s = 6}}

[upstreams.bytez]
kind = "bytez"
api = "v1"
base_url = "{bytez.base_url}"
api_key = "{bytez.key}"
concurrency = 64
reads_per_s = 5000
timeout = {{connect_s = 2, first_byte_s = 1, between_bytes_s = 1, total_s = 6}}

[models.chat]
targets = [{{upstream = "vk", model = "meta/meta-llama-3-70b-instruct"}}]
[models.slow-chat]
targets = [{{upstream = "vk", model = "{vk.models[acme/poll-only].version}"}}]
[models.queue]
targets = [{{upstream = "aime", model = "lab_chat"}}]
[models.image]
type = "image"
targets = [{{upstream = "vk", model = "black-forest-labs/flux-schnell"}}]
[models.task-image]
type = "image"
targets = [{{upstream = "novita", model = "dreamshaper_8_93211.safetensors"}}]
[models.loaded-chat]
targets = [{{upstream = "bytez", model = "openai-community/gpt2"}}]
[models.embedding]
type = "embedding"
targets = [{{upstream = "vk", model = "acme/embedder:{vk.models[acme/embedder].version}"}}]

[routing]
retries = 1
breaker = {{failures = 1000000}}
"""

FAULTS: list[tuple[Callable[[], Any], str]] = [
    (faults.reset, "api"),
    (lambda: faults.reset(accepted=True), "api"),
    (faults.html_502, "api"),
    (faults.garbage_json, "api"),
    (faults.empty_200, "api"),
    (faults.hang, "api"),
    (lambda: faults.hang(accepted=True), "api"),
    (lambda: faults.late(0.3), "api"),
    (lambda: faults.cut(40), "api"),
    (faults.dribble, "api"),
    (lambda: faults.throttled(0.05), "api"),
    (lambda: faults.answer(500, {"detail": "oops"}), "api"),
    (lambda: faults.answer(404, {"detail": "lost"}), "api"),
]
STREAM_FAULTS = [
    faults.reset,
    faults.hang,
    lambda: faults.cut(60, end="reset"),
    faults.without_last,
    lambda: faults.paused(1, 2.0),
]
FILE_FAULTS = [faults.reset, lambda: faults.cut(50), lambda: faults.redirect("http://169.254.169.254/"), faults.hang]
WORDS = [{"role": "user", "content": "one two three four five"}]
REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("/v1/chat/completions", {"model": "chat", "messages": WORDS, "stream": True}),
    ("/v1/chat/completions", {"model": "chat", "messages": WORDS}),
    ("/v1/chat/completions", {"model": "slow-chat", "messages": WORDS, "stream": True}),
    ("/v1/chat/completions", {"model": "queue", "messages": WORDS, "stream": True}),
    ("/v1/chat/completions", {"model": "queue", "messages": WORDS}),
    ("/v1/images/generations", {"model": "image", "prompt": "a boat", "n": 2}),
    ("/v1/images/generations", {"model": "task-image", "prompt": "a boat", "n": 2, "size": "256x256"}),
    ("/v1/chat/completions", {"model": "loaded-chat", "messages": WORDS, "stream": True}),
    ("/v1/chat/completions", {"model": "loaded-chat", "messages": WORDS}),
    ("/v1/embeddings", {"model": "embedding", "input": ["a", "b"]}),
]
SERVED = {"queue": "aime", "task-image": "novita", "loaded-chat": "bytez"}  # the rest is VaikerAI's


def handles() -> Counter[str]:
    """What the process holds open, by kind."""
    found: Counter[str] = Counter()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found[os.readlink(f"/proc/self/fd/{name}").partition(":")[0]] += 1
    return found


class Crowd:
    """Callers that ask, wait or leave; each is a raw socket, so that leaving is leaving."""

    def __init__(self, gate: Gateway, doubles: dict[str, Any], seed: int) -> None:
        self.gate, self.doubles = gate, doubles
        self.dice = random.Random(seed)
        self.said: Counter[str] = Counter()
        self.left = 0

    async def run(self, jobs: int, at_once: int = 48) -> None:
        todo = iter(range(jobs))

        async def caller() -> None:
            for _ in todo:
                await self.one()

        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(caller())

    async def one(self) -> None:
        dice = self.dice
        path, body = dice.choice(REQUESTS)
        if dice.random() < 0.4:
            self.spoil(body["model"])
        data = json.dumps(body).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.gate.port)
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n"
        writer.write(f"{head}content-length: {len(data)}\r\n\r\n".encode() + data)
        leaves_after = dice.uniform(0, 0.25) if dice.random() < 0.3 else 60.0
        try:
            async with asyncio.timeout(leaves_after):
                answer = await reader.read(-1)
            self.said[answer[9:12].decode() if answer else "nothing"] += 1
            assert b"canary" not in answer
        except TimeoutError:
            assert leaves_after < 60, "somebody waited for a minute"
            self.left += 1
            if dice.random() < 0.5:
                sock = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def spoil(self, model: str) -> None:
        """Queue a fault for some request of the next moments, whoever's it will be."""
        dice = self.dice
        double = self.doubles[SERVED.get(model, "vk")]
        if model == "chat" and dice.random() < 0.4:
            double.script(dice.choice(STREAM_FAULTS)(), port="stream")
        elif model.endswith("image") and dice.random() < 0.5:
            double.script(dice.choice(FILE_FAULTS)(), port="files")
        else:
            make, port = dice.choice(FAULTS)
            # All callers wait for the one load of a model: most faults are for what is asked of it afterwards.
            path = "/model/run$" if model == "loaded-chat" and dice.random() < 0.9 else ""
            method = "POST" if path else dice.choice(["GET", "POST", None])
            double.script(make(), method=method, path=path, port=port)


@contextlib.contextmanager
def built() -> Iterator[tuple[Gateway, dict[str, Any]]]:
    """The gateway in front of the doubles."""
    quick = Pace.quick()
    with contextlib.ExitStack() as stack:
        doubles: dict[str, Any] = {
            "vk": stack.enter_context(VaikerDouble(pace=quick, creates_per_min=6e6, reads_per_min=6e6)),
            "aime": stack.enter_context(AimeDouble(pace=quick)),
            "novita": stack.enter_context(NovitaDouble(pace=quick)),
            "bytez": stack.enter_context(BytezDouble(pace=quick, plan=64)),
        }
        vk = doubles["vk"]
        places = {
            "files": vk.origin("files"),
            "streams": vk.origin("stream"),
            "pictures": doubles["novita"].origin("files"),
        }
        toml = TOML.replace("vk.models[", "models[").format(models=vk.models, **doubles, **places)
        with gateway(toml) as gate:
            yield gate, doubles


@pytest.mark.parametrize("jobs", [400, pytest.param(5000, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_nothing_is_left_of_jobs_with_faults_and_leavers(jobs: int) -> None:
    with built():
        pass  # what is made once in a process (pools of threads, tables) is made now
    threads, before = threading.active_count(), handles()
    with built() as (gate, doubles):
        idle_tasks = gate.call(tasks_of())
        crowd = Crowd(gate, doubles, seed=jobs)
        asyncio.run(crowd.run(jobs))
        assert crowd.said["200"] > jobs / 4, crowd.said
        assert crowd.left > jobs / 20
        assert sum(crowd.said.values()) + crowd.left == jobs
        assert set(crowd.said) <= {"200", "400", "404", "429", "502", "503", "504", "nothing"}, crowd.said
        for double in doubles.values():
            double.call(double._faults.clear)
        adapters: Any = gate.house().adapters
        # Those that were left are cancelled, or (AIME cannot cancel) followed to their end or their time's end.
        settle(lambda: not any(adapters[name].engine.in_flight for name in doubles), 20)
        settle(lambda: gate.app.stays.gate.running == 0, 5)
        settle(lambda: gate.call(tasks_of()) <= idle_tasks, 5)
        settle(lambda: gate.call(busy(adapters)) == 0, 5)
        assert adapters["vk"]._predictions._jobs == {}
        assert [seen for double in doubles.values() for seen in double.leaks] == []
        for name, creates in CREATES.items():
            posts = [seen for seen in doubles[name].seen("POST", creates) if seen.headers]
            assert jobs / 100 < doubles[name].created <= len(posts), "nothing was created twice"
    settle(lambda: threading.active_count() <= threads + 2, 5)  # a pool may have grown
    settle(lambda: (handles() - before).total() <= 3, 5)


CREATES = {"vk": "/predictions$", "aime": "", "novita": "/v3/async/", "bytez": "/model/run$"}


async def tasks_of() -> int:
    return len(asyncio.all_tasks())


async def busy(adapters: Any) -> int:
    """Connections to upstreams that are not idle."""
    clients = [adapters["vk"]._api._client, adapters["aime"]._client]
    clients += [adapters["novita"]._tasks._client, adapters["bytez"]._client]
    pools = [pool for client in clients for pool in client._native._pools.values()]
    return sum(pool.size - pool.idle for pool in pools)


def settle(true: Callable[[], object], seconds: float) -> None:
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds
        time.sleep(0.02)
