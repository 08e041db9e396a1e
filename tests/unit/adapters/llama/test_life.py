"""Loading on demand, eviction, expiry; with real processes."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from adapters.llama.footprint import Machine, Wishes
from adapters.llama.generation import Generation
from adapters.llama.life import Life
from adapters.llama.resident import Hold, Residency
from adapters.llama.spec import Generate, Sampling
from proxy.errors import Fault, UpstreamError

WISHES = Wishes(context_tokens=1024, parallel=8, threads=1)


def _call(tokens: int) -> Generate:
    return Generate(prompt="x", max_tokens=tokens, sampling=Sampling(temperature=0, ignore_eos=True))


async def _serve(life: Life, path: Path, tokens: int = 20) -> float:
    """One call; how long it waited for its model."""
    began = time.monotonic()
    hold = await life.acquire(str(path))
    waited = time.monotonic() - began
    try:
        generation = hold.engine.submit(_call(tokens))
        while await generation.next() is not None:
            pass
        assert generation.usage is not None
        assert generation.usage.completion_tokens == tokens
    finally:
        hold.release()
    return waited


async def _until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(0.005)


def _cut(path: Path, target: Path) -> Path:
    target.write_bytes(path.read_bytes()[:5000])
    return target


async def _drain(generation: Generation) -> None:
    while await generation.next() is not None:
        pass


@pytest_asyncio.fixture
async def make() -> AsyncIterator[Callable[..., Life]]:
    made: list[Life] = []

    def build(**residency: float) -> Life:
        made.append(Life(WISHES, Residency(**residency)))  # type: ignore[arg-type]
        return made[-1]

    yield build
    for life in made:
        await life.aclose()
        assert life.status() == []


@pytest.mark.asyncio
async def test_a_model_is_loaded_once_for_all_who_ask(make: Callable[..., Life], tiny_path: Path) -> None:
    life = make()
    seen: list[float] = []
    holds: list[Hold] = list(await asyncio.gather(*(life.acquire(str(tiny_path), seen.append) for _ in range(5))))
    assert len({id(hold.engine) for hold in holds}) == 1
    assert seen[-1] == 1.0
    (status,) = life.status()
    assert (status.state, status.users, status.parallel) == ("ready", 5, 8)
    assert status.estimated > 0
    assert status.measured > 1 << 20
    for hold in holds:
        hold.release()
        hold.release()
    assert life.status()[0].users == 0


@pytest.mark.asyncio
async def test_it_goes_when_its_time_is_up_and_comes_back(make: Callable[..., Life], tiny_path: Path) -> None:
    life = make(keep_s=0.15)
    await _serve(life, tiny_path)
    (status,) = life.status()
    pid = life._residents[str(tiny_path)].engine.pid  # type: ignore[union-attr]
    assert pid is not None
    assert status.users == 0
    await asyncio.sleep(0.05)
    await _serve(life, tiny_path)  # starts the clock anew
    await _until(lambda: life.status() == [])
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    await _serve(life, tiny_path)


@pytest.mark.asyncio
async def test_zero_is_at_once_and_negative_never(make: Callable[..., Life], tiny_path: Path) -> None:
    at_once = make(keep_s=0)
    await _serve(at_once, tiny_path)
    await _until(lambda: at_once.status() == [])
    never = make(keep_s=-1)
    await _serve(never, tiny_path)
    assert never._residents[str(tiny_path)].timer is None


@pytest.mark.asyncio
async def test_an_idle_model_makes_place(make: Callable[..., Life], tiny_path: Path, second_path: Path) -> None:
    life = make(max_loaded=1)
    await _serve(life, tiny_path)
    await _serve(life, second_path)
    assert [Path(status.path).name for status in life.status()] == ["second.gguf"]


@pytest.mark.asyncio
async def test_interleaved_traffic_is_never_cut_and_never_starves(
    make: Callable[..., Life], tiny_path: Path, second_path: Path
) -> None:
    patience = 0.2
    life = make(max_loaded=1, patience_s=patience)
    paths = [tiny_path, second_path]
    waits = await asyncio.gather(*(_serve(life, paths[i % 2], 150) for i in range(24)))
    assert max(waits) < 10.0
    stop = time.monotonic() + 1.5

    async def hammer() -> None:
        while time.monotonic() < stop:
            await _serve(life, tiny_path, 30)

    crowd = [asyncio.create_task(hammer()) for _ in range(4)]
    await asyncio.sleep(0.3)
    waited = await _serve(life, second_path)
    assert waited < patience + 1.1, "it waited for the crowd to go home"
    await asyncio.gather(*crowd)


@pytest.mark.asyncio
async def test_a_running_call_survives_an_eviction(
    make: Callable[..., Life], tiny_path: Path, second_path: Path
) -> None:
    life = make(max_loaded=1, patience_s=0.05)
    hold = await life.acquire(str(tiny_path))
    generation = hold.engine.submit(_call(900))
    other = asyncio.create_task(_serve(life, second_path))
    await _until(lambda: life.status()[0].state == "draining")
    late = asyncio.create_task(_serve(life, tiny_path))
    while await generation.next() is not None:
        pass
    assert generation.usage is not None
    assert generation.usage.completion_tokens == 900
    assert not other.done()
    hold.release()
    await other
    await late


@pytest.mark.asyncio
async def test_a_request_during_unload_reloads_once(make: Callable[..., Life], tiny_path: Path) -> None:
    life = make()
    await _serve(life, tiny_path)
    unloading = asyncio.create_task(life.unload(str(tiny_path)))
    await asyncio.sleep(0)
    await asyncio.gather(*(_serve(life, tiny_path) for _ in range(5)))
    assert await unloading is True
    assert len(life.status()) == 1
    assert await life.unload("/nowhere") is False


@pytest.mark.asyncio
async def test_bad_files_leave_nothing_behind(make: Callable[..., Life], tmp_path: Path, tiny_path: Path) -> None:
    life = make(max_loaded=1)
    bad = _cut(tiny_path, tmp_path / "bad.gguf")
    for path, reason in ((bad, "truncated"), (tmp_path / "none.gguf", "there is no file")):
        results = await asyncio.gather(*(life.acquire(str(path)) for _ in range(3)), return_exceptions=True)
        for error in results:
            assert isinstance(error, UpstreamError)
            assert error.fault is Fault.MALFORMED
            assert reason in error.message
    assert life.status() == []
    await _serve(life, tiny_path)


@pytest.mark.asyncio
async def test_what_does_not_fit_is_refused_after_idle_models_were_sent_away(
    tiny_path: Path, second_path: Path
) -> None:
    memory = [1 << 40]
    life = Life(WISHES, Residency(max_loaded=2), machine=lambda: Machine(memory=memory[0], cores=1))
    await _serve(life, tiny_path)
    memory[0] = 1 << 20
    with pytest.raises(UpstreamError, match="MiB of memory") as caught:
        await life.acquire(str(second_path))
    assert caught.value.status == 503
    assert life.status() == []
    await life.aclose()


@pytest.mark.asyncio
async def test_a_caller_who_gives_up_leaves_no_hold(make: Callable[..., Life], tiny_path: Path) -> None:
    life = make(keep_s=0.1)
    task = asyncio.create_task(life.acquire(str(tiny_path)))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await _until(lambda: all(status.users == 0 for status in life.status()))
    await _until(lambda: life.status() == [])


@pytest.mark.asyncio
async def test_the_administrator_chooses(make: Callable[..., Life], tiny_path: Path) -> None:
    life = make()
    status = await life.load(str(tiny_path), parallel=3, keep_s=-1)
    assert (status.parallel, status.keep_s, status.state) == (3, -1, "ready")
    again = await life.load(str(tiny_path), parallel=5)
    assert again.parallel == 5
    assert len(life.status()) == 1


@pytest.mark.asyncio
async def test_prefixes_outlive_an_unload_and_their_folder_does_not_outlive_us(tiny_path: Path) -> None:
    life = Life(Wishes(context_tokens=1024, parallel=2, threads=1, host_cache=10**8))
    request = Generate(prompt="remember " * 30, max_tokens=2)
    cached = []
    for _ in range(2):
        hold = await life.acquire(str(tiny_path))
        generation = hold.engine.submit(request)
        await _drain(generation)
        assert generation.usage is not None
        cached.append(generation.usage.cached_tokens)
        hold.release()
        await life.unload(str(tiny_path))
    assert cached[0] == 0
    assert cached[1] > 100
    folder = life._states
    assert os.access(folder, os.W_OK)
    await life.aclose()
    assert not os.access(folder, os.F_OK)


@pytest.mark.asyncio
async def test_closing_fails_those_who_wait(tiny_path: Path, second_path: Path) -> None:
    life = Life(WISHES, Residency(max_loaded=1, patience_s=60))
    hold = await life.acquire(str(tiny_path))
    generation = hold.engine.submit(_call(900))
    waiting = asyncio.create_task(life.acquire(str(second_path)))
    await asyncio.sleep(0.02)
    await life.aclose()
    with pytest.raises(UpstreamError):
        await waiting
    with pytest.raises(UpstreamError):
        await _drain(generation)
    with pytest.raises(UpstreamError, match="closed"):
        await life.acquire(str(tiny_path))
