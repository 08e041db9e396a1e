"""One process: what it is given, what it says, how it ends."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from adapters.llama import frames
from adapters.llama.client import Child, child_environment
from adapters.llama.spec import Generate, Setup

SETUP = Setup(n_ctx=1024, n_seq=2, threads=1)
ROOT = Path(__file__).resolve().parents[4]


async def _ready(path: Path) -> tuple[Child, list[frames.ToGateway]]:
    got: list[frames.ToGateway] = []
    ready = asyncio.Event()

    def on_frame(frame: frames.ToGateway) -> None:
        got.append(frame)
        if isinstance(frame, frames.Ready | frames.Failed):
            ready.set()

    child = await Child.spawn(str(path), SETUP, on_frame)
    await asyncio.wait_for(ready.wait(), 20)
    return child, got


def test_the_child_gets_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("LLAMA_CPP_LIB_PATH", "/elsewhere")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    env = child_environment()
    assert "OPENAI_API_KEY" not in env
    assert "LLAMA_CPP_LIB_PATH" not in env
    assert env["CUDA_VISIBLE_DEVICES"] == "0"
    assert env["GGML_NO_BACKTRACE"] == "1"


@pytest.mark.asyncio
async def test_it_is_ready_and_ends_when_asked(tiny_path: Path) -> None:
    child, got = await _ready(tiny_path)
    kinds = [type(frame).__name__ for frame in got]
    assert kinds[0] == "Progress"
    assert kinds[-1] == "Ready"
    pid = child.pid
    await child.shutdown(5.0)
    assert await child.exited == 0
    assert not child.killed_for
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    child.send(frames.Ping(0.0))  # too late, and no error


@pytest.mark.asyncio
async def test_it_inherits_nothing_but_its_socket(tiny_path: Path, tmp_path: Path) -> None:
    with (tmp_path / "open").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        child, _ = await _ready(tiny_path)
        links = [os.readlink(f"/proc/{child.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{child.pid}/fd")]
    assert str(tmp_path / "open") not in links
    assert sum(link.startswith("socket:") for link in links) == 1
    await child.shutdown(5.0)


@pytest.mark.asyncio
async def test_a_bad_file_is_said_and_the_process_ends(tmp_path: Path) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(b"GGUF" + bytes(64))
    child, got = await _ready(path)
    assert isinstance(got[-1], frames.Failed)
    assert await child.exited == 3


@pytest.mark.asyncio
async def test_a_kill_is_told_with_its_reason(tiny_path: Path) -> None:
    child, _ = await _ready(tiny_path)
    os.kill(child.pid, signal.SIGSTOP)
    child.kill("for the test")
    code = await asyncio.wait_for(child.exited, 5)
    assert code == -signal.SIGKILL
    assert child.obituary(code) == "the engine process was killed: for the test"


@pytest.mark.asyncio
async def test_a_native_abort_is_named(tiny_path: Path) -> None:
    child, _ = await _ready(tiny_path)
    os.kill(child.pid, signal.SIGABRT)
    assert "SIGABRT" in child.obituary(await asyncio.wait_for(child.exited, 5))


@pytest.mark.asyncio
async def test_garbage_from_the_gateway_ends_the_process(tiny_path: Path) -> None:
    child, _ = await _ready(tiny_path)
    assert child._transport is not None
    child._transport.write(b"\xff" * 100)
    assert await asyncio.wait_for(child.exited, 5) == 70
    assert "FrameError" in " ".join(child.last_words)


@pytest.mark.asyncio
async def test_garbage_from_the_process_ends_it(tiny_path: Path) -> None:
    child, _ = await _ready(tiny_path)
    child.data_received(b"\xff" * 100)
    await asyncio.wait_for(child.exited, 5)
    assert "no frame" in child.killed_for


@pytest.mark.asyncio
async def test_signals_for_the_gateway_do_not_end_it(tiny_path: Path) -> None:
    child, got = await _ready(tiny_path)
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(child.pid, number)
    child.send(frames.Ping(4.5))
    await child.shutdown(5.0)  # after which everything that it sent is here
    assert [frame.sent for frame in got if isinstance(frame, frames.Pong)] == [4.5]


PARENT = """
import asyncio, sys
sys.path.insert(0, {root!r})
from adapters.llama.client import Child
from adapters.llama.spec import Generate, Setup
from adapters.llama import frames

async def main():
    ready = asyncio.Event()
    child = await Child.spawn({path!r}, Setup(n_ctx=4096, n_seq=2, threads=1), lambda frame: ready.set())
    await ready.wait()
    child.send(frames.Gen(1, Generate(prompt="x", max_tokens=2000)))
    print(child.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def test_it_does_not_outlive_the_gateway(tiny_path: Path) -> None:
    code = PARENT.format(root=str(ROOT), path=str(tiny_path))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
        parent.wait()
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        if Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
            break  # dead; whoever adopted it has not looked yet
        time.sleep(0.01)
    else:
        assert not Path(f"/proc/{pid}").exists()


@pytest.mark.asyncio
async def test_a_slow_reader_does_not_stop_the_engine(tiny_path: Path) -> None:
    """The gateway does not read for a while; nothing is lost."""
    child, got = await _ready(tiny_path)
    assert child._transport is not None
    child._transport.pause_reading()
    for number in range(30):
        child.send(frames.Gen(number + 1, Generate(prompt="y", max_tokens=400)))
    await asyncio.sleep(0.5)
    child._transport.resume_reading()
    done: set[int] = set()
    deadline = time.monotonic() + 20
    while len(done) < 30 and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
        done = {number for frame in got if isinstance(frame, frames.Step) for number, _ in frame.done}
    assert done == set(range(1, 31))
    await child.shutdown(5.0)
