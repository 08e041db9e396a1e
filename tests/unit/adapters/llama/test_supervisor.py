"""An engine through its whole life, with real processes that are killed, stopped and aborted."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from adapters.llama.generation import Generation
from adapters.llama.quarantine import Quarantine
from adapters.llama.spec import Delta, Embed, Generate, Sampling, Setup
from adapters.llama.supervisor import Engine, Policy
from proxy.errors import Fault, UpstreamError

SETUP = Setup(n_ctx=16 * 1024, n_seq=16, threads=1)
QUICK = Policy(heartbeat_s=0.1, heartbeat_timeout_s=1.0, backoff_s=0.02, queue_limit=64)
LONG = Generate(prompt="a long answer", max_tokens=900, sampling=Sampling(temperature=0, ignore_eos=True))
SHORT = Generate(prompt="a short answer", max_tokens=8, sampling=Sampling(temperature=0, ignore_eos=True))


async def _all(engine: Engine, request: Generate) -> list[Delta]:
    generation = engine.submit(request)
    out: list[Delta] = []
    while (deltas := await generation.next()) is not None:
        out += deltas
    return out


async def _drain(generation: Generation) -> None:
    while await generation.next() is not None:
        pass


async def _until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(0.002)


def _text(deltas: list[Delta]) -> str:
    return "".join(getattr(event, "text", "") for delta in deltas for event in delta.events)


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _content(path: Path) -> bytes:
    return path.read_bytes()


@pytest_asyncio.fixture
async def engine(tiny_path: Path) -> AsyncIterator[Engine]:
    engine = Engine(str(tiny_path), SETUP, policy=QUICK)
    await engine.start()
    yield engine
    await engine.stop()


@pytest.mark.asyncio
async def test_it_serves_and_says_what_it_loaded(engine: Engine) -> None:
    assert engine.info is not None
    assert (engine.info.arch, engine.info.n_vocab, engine.info.context_tokens) == ("llama", 320, 1024)
    assert engine.info.chat_template == "model"
    generation = engine.submit(SHORT)
    deltas: list[Delta] = []
    while (some := await generation.next()) is not None:
        deltas += some
    assert sum(delta.tokens for delta in deltas) <= 8
    assert deltas[-1].finish == "length"
    assert generation.usage is not None
    assert generation.usage.completion_tokens == 8
    assert await generation.next() is None
    assert engine.in_flight == 0
    assert _text(await _all(engine, SHORT)) == _text(deltas)


@pytest.mark.asyncio
async def test_the_other_questions(engine: Engine) -> None:
    asked = Generate(messages=[{"role": "user", "content": "hi"}])
    assert await engine.render(asked) == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    count, ids = await engine.tokenize(asked)
    assert count == len(ids) // 4 > 5
    rows, tokens = await engine.embed(Embed(texts=["one", "two"]))
    assert len(rows) == 2 * 64 * 4
    assert tokens > 2
    assert (await engine.stats()).slots == 16


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("request_", "fault", "param"),
    [
        (Generate(prompt="x" * 5000), Fault.CONTEXT, "prompt"),
        (Generate(messages=[{"role": "user", "content": "x" * 5000}]), Fault.CONTEXT, "messages"),
        (Generate(prompt="x", tokens=[1]), Fault.REFUSED, "messages"),
        (Generate(tokens=[320]), Fault.REFUSED, "prompt"),
        (Generate(tokens=[-1]), Fault.REFUSED, "prompt"),
        (Generate(prompt="x", n=17), Fault.REFUSED, "n"),
        (Generate(prompt="x", max_tokens=0), Fault.REFUSED, "max_tokens"),
        (Generate(prompt="x", sampling=Sampling(temperature=float("nan"))), Fault.REFUSED, "temperature"),
        (Generate(prompt="x", sampling=Sampling(logit_bias={320: 1.0})), Fault.REFUSED, "logit_bias"),
        (Generate(prompt="x" * 1000, max_tokens=100, clamp=False), Fault.CONTEXT, "max_tokens"),
        (Generate(messages=[]), Fault.REFUSED, None),
    ],
)
async def test_bad_calls_are_refused_with_the_field(
    engine: Engine, request_: Generate, fault: Fault, param: str | None
) -> None:
    generation = engine.submit(request_)
    with pytest.raises(UpstreamError) as caught:
        await generation.next()
    assert caught.value.fault is fault
    assert caught.value.accepted is False
    if param is not None:
        assert caught.value.param == param
    await _all(engine, SHORT)
    assert engine.restarts == 0


@pytest.mark.asyncio
async def test_the_edge_of_the_context(engine: Engine) -> None:
    fits = engine.submit(Generate(tokens=[97] * 1023, max_tokens=50))
    await _drain(fits)
    assert fits.usage is not None
    assert (fits.usage.prompt_tokens, fits.usage.completion_tokens) == (1023, 1)
    for size in (1024, 1025):
        with pytest.raises(UpstreamError) as caught:
            await engine.submit(Generate(tokens=[97] * size)).next()
        assert caught.value.details == {"prompt_tokens": size, "max_tokens": None, "context_tokens": 1024}


@pytest.mark.asyncio
async def test_a_cancelled_call_stops_the_engine_working_for_it(engine: Engine) -> None:
    generations = [engine.submit(LONG) for _ in range(16)]
    assert await generations[0].next()
    for generation in generations:
        generation.cancel()
        generation.cancel()
    assert engine.in_flight == 0
    counters = await engine.stats()
    assert (counters.busy_slots, counters.running, counters.waiting) == (0, 0, 0)
    steps = (await engine.stats()).steps
    assert (await engine.stats()).steps == steps
    assert await generations[0].next() is None


@pytest.mark.asyncio
async def test_a_full_queue_says_when_to_come_back(tiny_path: Path) -> None:
    engine = Engine(str(tiny_path), SETUP, policy=Policy(queue_limit=3))
    await engine.start()
    running = [engine.submit(LONG) for _ in range(3)]
    with pytest.raises(UpstreamError) as caught:
        engine.submit(SHORT)
    assert caught.value.fault is Fault.RATE_LIMITED
    assert caught.value.status == 429
    assert caught.value.retry_after_s is not None
    assert caught.value.retry_after_s >= 1
    assert await running[0].next()
    engine.submit(SHORT).cancel()  # those three run now, so there is room again
    await engine.stop()


@pytest.mark.asyncio
@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGABRT, signal.SIGSEGV])
async def test_a_death_fails_what_has_begun_and_replays_the_rest(engine: Engine, blow: signal.Signals) -> None:
    begun = [engine.submit(LONG) for _ in range(8)]
    for generation in begun:
        assert await generation.next()
    fresh = [engine.submit(SHORT) for _ in range(8)]
    asked = asyncio.create_task(engine.embed(Embed(texts=["x"])))
    await asyncio.sleep(0)
    pid = engine.pid
    assert pid is not None
    os.kill(pid, blow)
    at = time.monotonic()
    for generation in begun:
        with pytest.raises(UpstreamError) as caught:
            await _drain(generation)
        assert caught.value.fault is Fault.CUT
        assert blow.name in caught.value.message
    for generation in fresh:
        await _drain(generation)
        assert generation.usage is not None
        assert generation.usage.completion_tokens == 8
    assert len((await asked)[0]) == 64 * 4
    assert time.monotonic() - at < 5.0
    assert engine.restarts == 1
    assert engine.pid != pid


@pytest.mark.asyncio
async def test_a_stopped_process_is_found_out_and_replaced(engine: Engine) -> None:
    begun = engine.submit(LONG)
    assert await begun.next()
    pid = engine.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    waiting = asyncio.create_task(_all(engine, SHORT))
    with pytest.raises(UpstreamError, match="did not answer"):
        await _drain(begun)
    assert (await waiting)[-1].finish == "length"
    assert engine.pid != pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.asyncio
async def test_a_call_is_replayed_once_and_not_twice(tiny_path: Path) -> None:
    engine = Engine(str(tiny_path), SETUP, policy=QUICK)
    await engine.start()
    waiting = engine.submit(LONG)
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGSTOP)  # nothing can come back now
    for _ in range(2):
        assert waiting.error is None
        pid = engine.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await _until(lambda pid=pid: engine.pid not in (pid, None))  # type: ignore[misc]
        if engine.pid is not None:
            os.kill(engine.pid, signal.SIGSTOP)
    with pytest.raises(UpstreamError) as caught:
        await waiting.next()
    assert caught.value.accepted is True
    await engine.stop(0.0)


@pytest.mark.asyncio
async def test_a_crash_loop_ends_in_quarantine(tiny_path: Path) -> None:
    quarantine = Quarantine()
    policy = Policy(crash_limit=3, backoff_s=0.01, quarantine_s=60.0, heartbeat_s=0.1)
    engine = Engine(str(tiny_path), SETUP, policy=policy, quarantine=quarantine)
    await engine.start()
    waiting = asyncio.create_task(_all(engine, Generate(prompt="x")))
    await asyncio.sleep(0)
    killed: set[int] = set()
    while engine.state != "failed":
        if engine.pid is not None and engine.pid not in killed:
            killed.add(engine.pid)
            os.kill(engine.pid, signal.SIGKILL)
        await asyncio.sleep(0.001)
    assert len(killed) == 3
    with pytest.raises(UpstreamError):
        await waiting
    with pytest.raises(UpstreamError) as caught:
        engine.submit(SHORT)
    assert caught.value.status == 503
    assert caught.value.retry_after_s is not None
    assert caught.value.retry_after_s > 50
    again = Engine(str(tiny_path), SETUP, policy=policy, quarantine=quarantine)
    with pytest.raises(UpstreamError, match="keeps crashing"):
        await again.start()
    other = Engine(str(tiny_path), Setup(n_ctx=1024, n_seq=4, threads=1), policy=policy, quarantine=quarantine)
    await other.start()
    await other.stop()


@pytest.mark.asyncio
async def test_a_bad_file_is_an_error_and_no_loop(tmp_path: Path, tiny_path: Path) -> None:
    data = _content(tiny_path)
    for name, content in (("magic", b"HELO" + data[4:]), ("cut", data[: len(data) // 2]), ("empty", b"")):
        engine = Engine(str(_written(tmp_path / name, content)), SETUP, policy=QUICK)
        with pytest.raises(UpstreamError) as caught:
            await engine.start()
        assert caught.value.fault is Fault.MALFORMED
        assert engine.restarts == 0
        await engine.stop()


@pytest.mark.asyncio
async def test_stop_ends_the_process_and_the_calls(tiny_path: Path) -> None:
    engine = Engine(str(tiny_path), SETUP, policy=QUICK)
    await engine.start()
    pid = engine.pid
    assert pid is not None
    generation = engine.submit(LONG)
    assert await generation.next()
    await engine.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(UpstreamError):
        await _drain(generation)
    with pytest.raises(UpstreamError, match="not loaded"):
        engine.submit(SHORT)
    await engine.start()  # and it can be had again
    assert _text(await _all(engine, SHORT))
    await engine.stop()


@pytest.mark.slow
@pytest.mark.asyncio
@pytest.mark.timeout(600)
async def test_fifty_deaths_under_sixteen_streams(tiny_path: Path) -> None:
    engine = Engine(str(tiny_path), SETUP, policy=QUICK)
    await engine.start()
    counts = {"whole": 0, "cut": 0, "strange": 0}
    medium = Generate(prompt="a middling answer", max_tokens=150, sampling=Sampling(temperature=1, ignore_eos=True))
    over = False

    async def client() -> None:
        while not over:
            generation = engine.submit(medium)
            try:
                await _drain(generation)
                counts["whole"] += 1
            except UpstreamError as error:
                counts["cut" if error.fault in (Fault.CUT, Fault.SERVER) else "strange"] += 1

    clients = [asyncio.create_task(client()) for _ in range(16)]
    worst = 0.0
    for turn in range(50):
        whole = counts["whole"]
        await _until(lambda whole=whole: counts["whole"] >= whole + 3, 60)  # type: ignore[misc]
        assert engine.pid is not None
        os.kill(engine.pid, (signal.SIGKILL, signal.SIGSTOP, signal.SIGABRT)[turn % 3])
        await _until(lambda: engine.state != "ready")
        died = time.monotonic()
        await _until(lambda: engine.state == "ready")
        worst = max(worst, time.monotonic() - died)
    over = True
    await asyncio.wait_for(asyncio.gather(*clients), 60)
    counters = await engine.stats()
    assert counters.busy_slots == 0
    assert engine.restarts >= 50
    assert counts["cut"] > 0
    assert counts["strange"] == 0
    assert worst <= 2.0
    await engine.stop()
