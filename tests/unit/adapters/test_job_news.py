"""Workers tell each other of jobs: over real sockets in a folder of their own."""

import asyncio
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.job_news import JobNews

pytestmark = pytest.mark.asyncio


@pytest.fixture(autouse=True)
def several(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("TRAGHETTO_WORKERS", "3")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield
    assert list(tmp_path.iterdir()) == [], "nothing stays behind"


class Worker:
    def __init__(self, name: str = "up", family: int = 7) -> None:
        self.heard: list[str] = []
        self.news = asyncio.Event()
        self.mouth = JobNews(name, self.hear, family=family)

    def hear(self, identity: str) -> None:
        self.heard.append(identity)
        self.news.set()

    async def next(self) -> list[str]:
        await asyncio.wait_for(self.news.wait(), 2)
        return self.heard


async def test_all_others_of_the_same_upstream_and_server_hear() -> None:
    one, two, three, other, stranger = Worker(), Worker(), Worker(), Worker("else"), Worker(family=8)
    everybody = (one, two, three, other, stranger)
    for worker in everybody:
        worker.mouth.listen()
        worker.mouth.listen()
    one.mouth.tell("p1")
    assert await two.next() == await three.next() == ["p1"]
    await asyncio.sleep(0)
    assert one.heard == other.heard == stranger.heard == []
    for worker in everybody:
        worker.mouth.close()
        worker.mouth.close()


async def test_who_is_gone_is_forgotten() -> None:
    one = Worker()
    one.mouth.listen()
    assert one.mouth._path is not None
    dead = one.mouth._path.with_name(one.mouth._path.name + "0")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as killed:
        killed.bind(str(dead))
    one.mouth.tell("p1")
    assert not dead.exists()
    one.mouth.close()


async def test_a_single_worker_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAGHETTO_WORKERS", "1")
    one = Worker()
    one.mouth.tell("p1")
    assert one.mouth._socket is None


async def test_a_folder_that_others_can_enter_is_not_used(tmp_path: Path) -> None:
    folder = tmp_path / f"traghetto-{os.getuid()}-jobs-7"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    one = Worker()
    one.mouth.tell("p1")
    assert one.mouth._socket is None
    assert list(folder.iterdir()) == []
    folder.rmdir()


async def test_a_flood_is_not_waited_for() -> None:
    """Buffers end; what does not fit is left to polling."""
    one, two = Worker(), Worker()
    one.mouth.listen()
    two.mouth.listen()
    for number in range(10_000):
        one.mouth.tell(f"p{number}")
    await two.next()
    one.mouth.close()
    two.mouth.close()
