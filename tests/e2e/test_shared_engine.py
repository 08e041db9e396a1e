"""`serve --workers 2`: both workers use one engine; each may die, and so may the process that has the models."""

import contextlib
import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from fakes.engines import local, until
from fakes.serving import Served, served

HELLO: Any = [{"role": "user", "content": "What is a traghetto?"}]


def ours(root: int, words: str) -> list[int]:
    """Processes below one, by a word of their command line. The host of models is a session of its own, started by a worker."""
    parents: dict[int, int] = {}
    named: set[int] = set()
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            stat = (entry / "stat").read_text().rpartition(")")[2].split()
            if stat[0] != "Z":
                parents[int(entry.name)] = int(stat[1])
                if words in (entry / "cmdline").read_text().replace("\0", " "):
                    named.add(int(entry.name))

    def below(pid: int) -> bool:
        while pid in parents:
            if pid == root:
                return True
            pid = parents[pid]
        return False

    return sorted(pid for pid in named if below(pid))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("server")
    (folder / "t.toml").write_text(local({"demo": "demo"}) + "[store]\nledger = false\n[auth]\nrequired = false\n")
    with served("--config", "t.toml", "--workers", "2", cwd=folder) as running:
        until(lambda: _alive(running), 60)
        yield running


def _alive(server: Served) -> bool:
    with contextlib.suppress(OSError):
        return server.ask("GET", "/livez")[0] == 200
    return False


def chats(server: Served, count: int, **more: Any) -> list[str]:
    """Each on a connection of its own, all at once, so that both workers get some."""
    said: list[str] = []

    def one() -> None:
        url = f"http://127.0.0.1:{server.port}/v1"
        with openai.OpenAI(base_url=url, api_key="none", max_retries=2, timeout=60) as client:
            answer = client.chat.completions.create(model="demo", messages=HELLO, temperature=0, **more)
            said.append(answer.choices[0].message.content or "")

    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    return said


def cards(server: Served) -> list[Any]:
    """What a dozen fresh connections, so both workers, say of the model."""
    body = json.dumps({"model": "demo"}).encode()
    return [json.loads(server.ask("POST", "/admin/models/status", body)[1]) for _ in range(12)]


def test_one_engine_for_both(server: Served) -> None:
    said = chats(server, 16)
    assert len(said) == 16
    assert len(set(said)) == 1
    root = server.process.pid
    assert len(ours(root, "adapters.llama.worker")) == 1
    assert len(ours(root, "sharing.host")) == 1
    until(
        lambda: (
            {(card["status"], card["inferences"], card["running"]) for card in cards(server)} == {("RUNNING", 16, 0)}
        )
    )


def test_the_administrator_of_any_worker(server: Served) -> None:
    until(
        lambda: (
            json.loads(server.ask("POST", "/admin/models/load", b'{"model": "demo", "wait": true}')[1])["progress"] == 1
        )
    )
    until(lambda: {card["status"] for card in cards(server)} == {"RUNNING"})
    assert server.ask("POST", "/admin/models/delete", b'{"model": "demo"}')[0] == 200
    until(lambda: {card["status"] for card in cards(server)} == {"STOPPED"})
    assert ours(server.process.pid, "adapters.llama.worker") == []


def test_a_client_that_leaves_frees_the_engine(server: Served) -> None:
    body = {"model": "demo", "messages": HELLO, "stream": True, "ignore_eos": True, "max_tokens": 1000}
    url = f"http://127.0.0.1:{server.port}/v1/chat/completions"
    with httpx.stream("POST", url, json=body, timeout=30) as response:
        next(response.iter_lines())
        until(lambda: max(card["running"] for card in cards(server)) == 1)
    until(lambda: {card["running"] for card in cards(server)} == {0})


def test_the_host_dies_and_comes_back(server: Served) -> None:
    chats(server, 4)
    (host,) = ours(server.process.pid, "sharing.host")
    os.kill(host, signal.SIGKILL)
    assert len(chats(server, 16)) == 16
    (other,) = ours(server.process.pid, "sharing.host")
    assert other != host
    assert len(ours(server.process.pid, "adapters.llama.worker")) == 1


def test_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "t.toml").write_text(local({"demo": "demo"}) + "[store]\nledger = false\n[auth]\nrequired = false\n")
    with served("--config", "t.toml", "--workers", "2", cwd=tmp_path) as running:
        until(lambda: _alive(running), 60)
        assert chats(running, 4)
        (host,) = ours(running.process.pid, "sharing.host")
        command = Path(f"/proc/{host}/cmdline").read_text().split("\0")
        socket = Path(command[command.index("--socket") + 1])
        assert socket.exists()
    until(
        lambda: not Path(f"/proc/{host}").exists() or "Z" in Path(f"/proc/{host}/stat").read_text().split(")")[1][:3],
        30,
    )
    assert not socket.parent.exists()
