"""A worker's life is a life: loads, calls, progress, unloading, failures; and what it does when the host dies."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from adapters.llama.footprint import Wishes
from adapters.llama.generation import Generation
from adapters.llama.resident import Residency, Settings
from adapters.llama.sharing.remote import RemoteLife
from adapters.llama.spec import Embed, Generate, Sampling
from adapters.llama.supervisor import Policy
from proxy.errors import Fault, UpstreamError

WISHES = Wishes(context_tokens=1024, parallel=8, threads=1)


def settings(**more: Any) -> Settings:
    return Settings("local", WISHES, Residency(**more), Policy(heartbeat_s=0.1))


def call(tokens: int) -> Generate:
    return Generate(prompt="x", max_tokens=tokens, sampling=Sampling(temperature=0, ignore_eos=True))


async def drained(generation: Generation) -> int:
    tokens = 0
    while (deltas := await generation.next()) is not None:
        tokens += sum(delta.tokens for delta in deltas)
    assert generation.usage is not None
    return generation.usage.completion_tokens


async def until(condition: Callable[[], Any], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(0.005)


@pytest_asyncio.fixture
async def make(tmp_path: Path) -> AsyncIterator[Callable[..., RemoteLife]]:
    made: list[RemoteLife] = []
    path = str(tmp_path / "s")

    def build(**more: Any) -> RemoteLife:
        made.append(RemoteLife(path, settings(**more)))
        return made[-1]

    yield build
    for pid in {life._link.pid for life in made} - {0}:
        with contextlib.suppress(ProcessLookupError):  # the one that a test killed
            os.kill(pid, signal.SIGTERM)
    for life in made:
        await life.aclose()
    await until(lambda: not os.path.exists(path))


@pytest.mark.asyncio
async def test_the_host_goes_when_nobody_is_left(tmp_path: Path, tiny_path: Path) -> None:
    path = str(tmp_path / "s")
    life = RemoteLife(path, settings())
    (await life.acquire(str(tiny_path))).release()
    await until(lambda: life._link.pid)
    assert os.stat(path).st_mode & 0o077 == 0
    await life.aclose()
    await until(lambda: not os.path.exists(path))


@pytest.mark.asyncio
async def test_workers_share_one_model(make: Callable[..., RemoteLife], tiny_path: Path) -> None:
    seen: list[float] = []
    one, two = make(), make()
    first, second = await asyncio.gather(one.acquire(str(tiny_path), seen.append), two.acquire(str(tiny_path)))
    assert first.engine.info is not None
    assert first.engine.info.context_tokens == 1024
    running = [hold.engine.submit(call(60)) for hold in (first, second) for _ in range(4)]
    assert await asyncio.gather(*(drained(generation) for generation in running)) == [60] * 8
    assert one._link.pid == two._link.pid != 0
    await until(lambda: one.status() and one.status()[0].users == 2)
    await until(lambda: two.status() and two.status()[0].state == "ready")
    (status,) = two.status()
    assert (status.state, status.parallel, status.path) == ("ready", 8, str(tiny_path))
    rows, tokens = await first.engine.embed(Embed(texts=["one", "two"]))
    assert (len(rows), tokens > 2) == (2 * 64 * 4, True)
    first.release()
    second.release()
    await until(lambda: one.status()[0].users == 0)


@pytest.mark.asyncio
async def test_leaving_gives_everything_back(make: Callable[..., RemoteLife], tiny_path: Path) -> None:
    stays, leaves = make(), make()
    hold = await stays.acquire(str(tiny_path))
    gone = await leaves.acquire(str(tiny_path))
    endless = gone.engine.submit(call(1000))
    assert await endless.next()
    await until(lambda: stays.status() and stays.status()[0].users == 2)
    await leaves.aclose()
    with pytest.raises(UpstreamError) as caught:
        await drained(endless)
    assert caught.value.fault is Fault.CUT
    await until(lambda: stays.status()[0].users == 1)
    cancelled = hold.engine.submit(call(1000))
    assert await cancelled.next()
    cancelled.cancel()
    assert await cancelled.next() is None
    assert await drained(hold.engine.submit(call(5))) == 5
    hold.release()


@pytest.mark.asyncio
async def test_errors_arrive_as_they_are(make: Callable[..., RemoteLife], tiny_path: Path, tmp_path: Path) -> None:
    life = make()
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"nothing")
    with pytest.raises(UpstreamError, match="not a GGUF") as caught:
        await life.acquire(str(broken))
    assert (caught.value.fault, caught.value.accepted) == (Fault.MALFORMED, False)
    await until(lambda: life.status_of(str(broken)) is not None)
    hold = await life.acquire(str(tiny_path))
    with pytest.raises(UpstreamError) as caught:
        await drained(hold.engine.submit(Generate(tokens=[97] * 1025)))
    assert caught.value.fault is Fault.CONTEXT
    assert caught.value.details == {"prompt_tokens": 1025, "max_tokens": None, "context_tokens": 1024}
    with pytest.raises(UpstreamError, match="cannot be passed"):
        hold.engine.submit(Generate(prompt="\ud800"))
    assert life._link.calls == {}
    hold.release()


@pytest.mark.asyncio
async def test_the_administrator(make: Callable[..., RemoteLife], tiny_path: Path) -> None:
    life, other = make(), make()
    path = str(tiny_path)
    assert await life.unload(path) is False
    await life.begin_load(path, parallel=3, keep_s=60)
    status = life.status_of(path)
    assert status is not None
    assert (status.state, status.parallel) == ("loading", 3)
    loaded = await other.load(path, keep_s=-1)
    assert (loaded.state, loaded.parallel, loaded.keep_s, loaded.served) == ("ready", 3, -1, 0)
    await until(lambda: life.status_of(path).keep_s == -1)  # type: ignore[union-attr]
    unaware = make()  # has not heard of the model
    assert unaware.status_of(path) is None
    assert await unaware.begin_unload(path)
    await until(lambda: other.status() == [] and life.status_of(path) is None)
    assert await unaware.unload(path) is False


@pytest.mark.asyncio
async def test_a_cancelled_wait_holds_nothing(make: Callable[..., RemoteLife], tiny_path: Path) -> None:
    life = make()
    waiting = asyncio.create_task(life.acquire(str(tiny_path)))
    await until(lambda: life._link.connected)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    hold = await life.acquire(str(tiny_path))
    await until(lambda: life.status() and life.status()[0].users == 1)
    hold.release()
    await until(lambda: life.status()[0].users == 0)


@pytest.mark.asyncio
@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP])
async def test_the_host_dies(
    make: Callable[..., RemoteLife], tiny_path: Path, blow: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its calls fail, those that had nothing in a way that allows another try; the next call starts another host."""
    monkeypatch.setattr("adapters.llama.sharing.link.BEAT_S", 0.1)
    monkeypatch.setattr("adapters.llama.sharing.link.SILENCE_S", 3.0)
    life, other = make(), make()
    hold = await life.acquire(str(tiny_path))
    begun = hold.engine.submit(call(1000))
    assert await begun.next()
    await until(lambda: life._link.pid)
    host = life._link.pid
    fresh = hold.engine.submit(call(1000))
    os.kill(host, blow)
    with pytest.raises(UpstreamError) as caught:
        await asyncio.wait_for(drained(begun), 20)
    assert caught.value.fault is Fault.CUT
    if not fresh.delivered and not fresh._deltas:
        with pytest.raises(UpstreamError) as caught:
            await drained(fresh)
        assert caught.value.accepted is False
    with pytest.raises(UpstreamError):
        await drained(hold.engine.submit(call(3)))
    hold.release()
    assert life.status() == []
    again, too = await asyncio.gather(life.acquire(str(tiny_path)), other.acquire(str(tiny_path)))
    assert await drained(again.engine.submit(call(5))) == 5
    await until(lambda: life._link.pid not in (0, host) and life._link.pid == other._link.pid)
    again.release()
    too.release()


@pytest.mark.asyncio
async def test_no_host_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.llama.sharing.link.START_S", 0.2)
    monkeypatch.setattr("adapters.llama.sharing.link._started", lambda path: None)
    life = RemoteLife(str(tmp_path / "s"), settings())
    with pytest.raises(UpstreamError, match="could not be started") as caught:
        await life.acquire("/m.gguf")
    assert caught.value.accepted is False
    await life.aclose()
    with pytest.raises(UpstreamError, match="closed"):
        await life.acquire("/m.gguf")
