"""The host's side alone: lives by their settings, sessions that break the rules, and news that are news."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.llama.footprint import Wishes
from adapters.llama.frames import FrameSplitter, encode
from adapters.llama.resident import Residency, Settings, Status
from adapters.llama.sharing import wire
from adapters.llama.sharing.host import Host, Session, _seen
from adapters.llama.supervisor import Policy

SETTINGS = Settings("a", Wishes(context_tokens=512, parallel=2, threads=1), Residency(), Policy())


class Wire(asyncio.Transport):
    """What a session writes, as frames."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[Any] = []
        self.closed = False
        self._splitter = FrameSplitter(wire.worker_decoder)

    def write(self, data: Any) -> None:
        self.frames += self._splitter.feed(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


def session(host: Host, settings: Settings | None = SETTINGS) -> tuple[Session, Wire]:
    made, transport = Session(host), Wire()
    made.connection_made(transport)
    if settings is not None:
        made.data_received(encode(wire.Hello(settings)))
    return made, transport


@pytest.mark.asyncio
async def test_equal_settings_are_one_life() -> None:
    host = Host()
    one, _ = session(host)
    two, _ = session(host)
    other, _ = session(host, msgspec.structs.replace(SETTINGS, name="b"))
    assert one.life is two.life is not other.life
    other.connection_lost(None)
    assert len(host._lives) == 1
    one.connection_lost(None)
    two.connection_lost(None)
    assert len(host._lives) == 1, "it stays for whoever comes next"
    assert host._lingering is not None
    session(host)
    assert host._lingering is None
    await host.aclose()


@pytest.mark.asyncio
async def test_a_signal_lets_calls_end() -> None:
    """systemd sends SIGTERM to every process of a unit, while workers still serve."""
    host = Host()
    one, _ = session(host)
    host.leave()
    assert not host.over.is_set()
    one.connection_lost(None)
    await asyncio.wait_for(host.over.wait(), 1)
    nobody = Host()
    nobody.leave()
    assert nobody.over.is_set()
    await host.aclose()


@pytest.mark.asyncio
async def test_who_breaks_the_rules_is_sent_away() -> None:
    host = Host()
    bad, transport = session(host)
    bad.data_received(b"\xff" * 100)
    assert transport.closed
    rude, told = session(host, None)
    rude.data_received(encode(wire.Acquire(1, "/m.gguf")))
    rude.data_received(encode(wire.Gen(2, 99, msgspec.convert({}, wire.Gen.__annotations__["request"]))))
    await asyncio.sleep(0.05)
    assert [(frame.id, "greet" in frame.message or "host failed" in frame.message) for frame in told.frames] == [
        (1, True),
        (2, True),
    ]
    await host.aclose()


@pytest.mark.asyncio
async def test_only_news_are_told(tiny_path: Path) -> None:
    host = Host()
    one, transport = session(host)
    one.tell()
    one.tell()
    await asyncio.sleep(0)
    assert [type(frame) for frame in transport.frames] == [wire.Changed]
    one.data_received(encode(wire.Load(5, str(tiny_path), None, None, wait=True)))
    for _ in range(2000):
        await asyncio.sleep(0.005)
        if any(isinstance(frame, wire.Told) for frame in transport.frames):
            break
    told = next(frame for frame in transport.frames if isinstance(frame, wire.Told))
    assert (told.id, told.status.state) == (5, "ready")
    one.tell()
    await asyncio.sleep(0)
    assert [status.path for status in transport.frames[-1].residents] == [str(tiny_path)]
    await host.aclose()


def test_idling_is_no_news() -> None:
    status = Status(path="/m", state="ready", idle_s=1.0, used=5.0)
    assert _seen(status) == _seen(msgspec.structs.replace(status, idle_s=2.0, measured=100))
    assert _seen(status) != _seen(msgspec.structs.replace(status, users=1))
