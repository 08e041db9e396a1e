"""Two models and room for one, over HTTP: nobody is cut, nobody starves, and what is not used goes."""

import asyncio
import statistics
import time
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from adapters import patience
from adapters.llama import adapter as llama
from adapters.llama.supervisor import Engine
from fakes.engines import Streamed, client, local, processes, residents, until
from fakes.gateway import Gateway, gateway
from fakes.gguf_model import Shape, build

PATIENCE_S, KEEP_S = 0.3, 1.0
PROMPT: Any = [{"role": "user", "content": "x"}]


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("models")
    files: Any = {
        "first": build(folder / "first.gguf", Shape()),
        "second": build(folder / "second.gguf", Shape(seed=2)),
    }
    options = {"max_loaded": 1, "patience_s": PATIENCE_S, "keep_loaded_s": KEEP_S, "context_tokens": 4096}
    with gateway(local(files, **options)) as running:
        yield running
    assert processes() == {}


def test_interleaved_calls_are_whole(gate: Gateway) -> None:
    """Every call wants the model that is not there; each is answered to its end."""

    async def run() -> list[Streamed]:
        async with client(gate) as by:
            return await asyncio.gather(*(Streamed().run(by, ("first", "second")[i % 2], 150) for i in range(32)))

    done = asyncio.run(run())
    assert [stream.ended for stream in done] == ["whole"] * 32


def test_a_crowd_does_not_keep_the_place(gate: Gateway) -> None:
    """Who waits gets the place after `patience_s`, the calls then running, and a load: whatever the crowd does."""
    waits: list[float] = []
    calls: list[float] = []

    async def run() -> None:
        over, served = False, asyncio.Event()
        async with client(gate) as by:

            async def hammer() -> None:
                while not over:
                    stream = await Streamed().run(by, "first", 40)
                    assert stream.ended == "whole"
                    calls.append(time.monotonic() - stream.first)
                    served.set()

            crowd = [asyncio.create_task(hammer()) for _ in range(8)]
            for _ in range(3):
                await asyncio.wait_for(served.wait(), 20)
                lonely = await Streamed().run(by, "second", 10)
                assert lonely.ended == "whole"
                waits.append(lonely.first - lonely.began)
                served.clear()
            over = True
            await asyncio.gather(*crowd)

    asyncio.run(run())
    longest = max(calls)
    load = 1.5  # seconds for stopping the one and starting the other, on a machine with other work
    assert statistics.median(waits) <= PATIENCE_S + longest + load
    assert max(waits) <= PATIENCE_S + longest + 4 * load


def test_after_its_time_the_process_is_gone(gate: Gateway) -> None:
    with openai.OpenAI(base_url=gate.v1, api_key="none", max_retries=0) as by:
        by.chat.completions.create(model="first", messages=PROMPT, max_tokens=3)
        (pid,) = processes()
        card = httpx.post(f"{gate.origin}/admin/models/status", json={"model": "first"}).json()
        assert (card["status"], card["expirationPeriodSeconds"]) == ("RUNNING", KEEP_S)
        assert card["expiresAt"] > card["modified"]
        at = time.monotonic()
        until(lambda: pid not in processes(), 10)
        assert time.monotonic() - at > KEEP_S / 2
        until(lambda: residents(gate) == [])
        assert by.models.retrieve("first").model_extra["model_spec"]["engine"]["state"] == "unloaded"  # type: ignore[index]
        assert by.chat.completions.create(model="first", messages=PROMPT, max_tokens=3).choices


def test_unloading_waits_for_what_runs(gate: Gateway) -> None:
    async def run() -> tuple[Streamed, str]:
        async with client(gate) as by, httpx.AsyncClient(base_url=gate.origin, timeout=30) as admin:
            stream = Streamed()
            running = asyncio.create_task(stream.run(by, "first", 3000))  # more than half a second
            await asyncio.wait_for(stream.flows.wait(), 20)
            told = (await admin.post("/admin/models/delete", json={"model": "first"})).json()["status"]
            return await running, told

    stream, told = asyncio.run(run())
    assert (stream.ended, told) == ("whole", "DRAINING")
    until(lambda: processes() == {}, 5)


def test_who_waits_for_a_load_is_told_how_it_goes(gate: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the stream as comments, in `models` and in the admin's card as numbers."""
    until(lambda: residents(gate) == [], 10)
    go: asyncio.Event = gate.call(_event())  # type: ignore[assignment]
    honest = Engine.start

    async def slow(self: Engine) -> Any:
        self._report(0.25)
        await go.wait()
        return await honest(self)

    async def soon(opening: Any, say: Any) -> Any:
        return await patience.opened(opening, say, commit_after_s=0.02)

    monkeypatch.setattr(Engine, "start", slow)
    monkeypatch.setattr(llama, "opened", soon)
    monkeypatch.setattr(patience, "EVERY_S", 0.02)
    body = {"model": "first", "messages": PROMPT, "stream": True, "max_tokens": 3}
    with httpx.stream("POST", f"{gate.v1}/chat/completions", json=body, timeout=20) as response:
        assert response.status_code == 200
        lines = response.iter_lines()
        until(lambda: next(lines) == ": loading the model: 25%")
        spec = httpx.get(f"{gate.v1}/models/first").json()["model_spec"]["engine"]
        assert (spec["state"], spec["progress"]) == ("loading", 0.25)
        card = httpx.post(f"{gate.origin}/admin/models/status", json={"model": "first"}).json()
        assert (card["status"], card["progress"]) == ("LOADING", 0.25)
        gate.loop.call_soon_threadsafe(go.set)
        rest = list(lines)
    assert [line for line in rest if line][-1] == "data: [DONE]"


async def _event() -> asyncio.Event:
    return asyncio.Event()


def test_a_full_queue_says_when_to_come_back() -> None:
    """One speaks and one waits; everybody else is turned away at once with a 429 and whole seconds to wait."""
    body = {"model": "demo", "messages": PROMPT, "max_tokens": 5}

    async def run(gate: Gateway) -> tuple[list[Streamed], list[httpx.Response]]:
        async with client(gate) as by, httpx.AsyncClient(base_url=gate.v1, timeout=30) as http:
            assert (await http.post("/chat/completions", json=body)).status_code == 200  # it is loaded
            streams = [Streamed(), Streamed()]
            tasks = [asyncio.create_task(streams[0].run(by, "demo", 900))]
            await asyncio.wait_for(streams[0].flows.wait(), 20)
            tasks.append(asyncio.create_task(streams[1].run(by, "demo", 5)))
            await asyncio.to_thread(
                until, lambda: any(r.engine is not None and r.engine.waiting for r in residents(gate))
            )
            refused = [await http.post("/chat/completions", json={**body, "stream": i % 2 == 1}) for i in range(4)]
            assert not tasks[0].done()
            return [await task for task in tasks], refused

    with gateway(local({"demo": "demo"}, parallel=1, queue=1)) as gate:
        spoke, refused = asyncio.run(run(gate))
        again = httpx.post(f"{gate.v1}/chat/completions", json=body, timeout=30)
    assert [stream.ended for stream in spoke] == ["whole", "whole"]
    for response in refused:
        assert response.status_code == 429
        assert 1 <= int(response.headers["retry-after"]) <= 60
        assert response.json()["error"]["type"] == "rate_limit_error"
    assert again.status_code == 200
