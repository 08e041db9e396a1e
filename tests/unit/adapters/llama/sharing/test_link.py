"""The connection alone: one starter among many, and a peer that talks nonsense."""

import asyncio
import os
from pathlib import Path

import pytest

from adapters.llama.frames import encode
from adapters.llama.sharing import link as linking
from adapters.llama.sharing import wire
from adapters.llama.sharing.link import Link, _turn
from proxy.errors import UpstreamError


def test_one_has_the_turn(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    with _turn(path) as first:
        assert first
        with _turn(path) as second:
            assert not second
    with _turn(path) as again:
        assert again


class Waits:
    def __init__(self) -> None:
        self.lost: list[UpstreamError] = []
        self.frames: list[wire.ToWorker] = []

    def on_frame(self, frame: wire.ToWorker) -> None:
        self.frames.append(frame)

    def on_lost(self, error: UpstreamError) -> None:
        self.lost.append(error)


async def host(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers the first ping, then listens."""
    await reader.read(1)
    writer.write(encode(wire.Pong(12345)))
    await reader.read()
    writer.close()


async def until_lost(listener: Waits) -> None:
    for _ in range(1000):
        if listener.lost:
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it was not told")


@pytest.mark.asyncio
async def test_a_peer_that_talks_nonsense_is_left(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    go = asyncio.Event()

    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(encode(wire.Pong(12345)))
        await go.wait()
        writer.write(b"\xff" * 100)
        await writer.drain()
        await reader.read()
        writer.close()

    greeted: list[int] = []
    async with await asyncio.start_unix_server(nonsense, path):
        link = Link(path, lambda: greeted.append(1))
        listener = Waits()
        await asyncio.gather(link.up(), link.up())
        assert (greeted, link.pid, link.connected) == ([1], 12345, True)
        link.calls[1] = listener
        go.set()
        await until_lost(listener)
        assert len(listener.lost) == 1
        assert not link.connected
        link.send(wire.Ping())  # to nobody
        await link.aclose()


@pytest.mark.asyncio
@pytest.mark.parametrize("how", ["dying", "stopped"])
async def test_who_takes_connections_and_does_not_answer_is_no_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    path = str(tmp_path / "s")
    killed: list[int] = []
    servers: list[asyncio.Server] = []
    loop = asyncio.get_running_loop()

    async def dead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if how == "stopped":
            await reader.read()
        writer.close()

    def kill(pid: int, number: int) -> None:
        killed.append(pid)
        servers[0].close()
        os.unlink(path)

    def start(where: str) -> None:
        if not killed:
            servers[0].close()
        servers.append(asyncio.run_coroutine_threadsafe(asyncio.start_unix_server(host, where), loop).result(5))

    monkeypatch.setattr(linking, "BEAT_S", 0.02)
    monkeypatch.setattr(linking, "SILENCE_S", 0.1)
    monkeypatch.setattr(linking.os, "kill", kill)
    monkeypatch.setattr(linking, "_started", start)
    servers.append(await asyncio.start_unix_server(dead, path))
    link = Link(path, lambda: None)
    await asyncio.wait_for(link.up(), 10)
    assert link.connected
    assert killed == ([os.getpid()] if how == "stopped" else []), "the system says who listens"
    await link.aclose()
    servers[-1].close()


@pytest.mark.asyncio
async def test_who_does_not_start_waits_for_who_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "s")
    started: list[str] = []
    loop = asyncio.get_running_loop()
    servers: list[asyncio.Server] = []

    def start(where: str) -> None:
        started.append(where)
        servers.append(asyncio.run_coroutine_threadsafe(asyncio.start_unix_server(host, where), loop).result(5))

    monkeypatch.setattr(linking, "_started", start)
    links = [Link(path, lambda: None) for _ in range(6)]
    await asyncio.gather(*(link.up() for link in links))
    assert started == [path]
    for link in links:
        await link.aclose()
    servers[0].close()
