"""kill -9 of workers, and of their scribes, in the middle of traffic: what a client saw finish is in the ledger, and nothing is
there twice.

Two workers on one SQLite file; clients stream and do not; a worker is killed at random moments and replaced by the
supervisor. Afterwards three accounts are held against each other: the clients', the upstream's, and the ledger.
"""

import contextlib
import http.client
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fakes.counting import Counting, counting
from fakes.services import free_port
from fakes.serving import ROOT

CLIENTS = 6
scribed = pytest.mark.parametrize("scribe", ["never", "always"])
INPUT, OUTPUT = 2_000_000, 5_000_000  # micro-USD for a million tokens


def config(double: Counting, folder: Path, scribe: str) -> Path:
    file = folder / "t.toml"
    file.write_text(
        f'[server]\nworkers = 2\n[store]\nurl = "sqlite:///{folder}/t.db"\nscribe = "{scribe}"\n[routing]\nretries = 0\n'
        f'breaker = {{failures = 1000000}}\n[upstreams.up]\nkind = "openai"\nbase_url = "{double.url}"\napi_key = "k"\n'
        '[models.m]\ntargets = [{upstream = "up", model = "x"}]\npricing = {input_usd = 2.0, output_usd = 5.0}\n'
        "[tiers.unlimited]\ntext = {concurrent = 1000, rpm = 10000000}\n"
    )
    return file


class Server:
    """`traghetto serve` with workers."""

    def __init__(self, file: Path) -> None:
        self.port = free_port()
        command = [sys.executable, "-m", "proxy", "serve", "--config", str(file), "--port", str(self.port)]
        self.log = (file.parent / "log").open("ab")
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
        self.process = subprocess.Popen(command, cwd=file.parent, env=environment, stdout=self.log, stderr=self.log)

    def workers(self) -> list[int]:
        """Those that run: spawned children of the supervisor, without the resource tracker and the dead."""
        try:
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        except FileNotFoundError:
            return []
        found = []
        for child in children:
            with contextlib.suppress(OSError):
                command = Path(f"/proc/{child}/cmdline").read_bytes()
                if b"spawn_main" in command:
                    found.append(int(child))
        return found

    def scribes(self) -> list[int]:
        """Of all workers."""
        found: list[int] = []
        for worker in self.workers():
            with contextlib.suppress(OSError):
                children = Path(f"/proc/{worker}/task/{worker}/children").read_text().split()
                found += [int(c) for c in children if b"ledger.scribe" in Path(f"/proc/{c}/cmdline").read_bytes()]
        return found

    def wait_ready(self, seconds: float = 60) -> None:
        """Both workers are there, and somebody answers."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            assert self.process.poll() is None, "the supervisor ended"
            if self._answers() and len(self.workers()) == 2:
                return
            time.sleep(0.05)
        raise TimeoutError("the workers are not ready")

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            connection.request("GET", "/livez")
            with contextlib.closing(connection.getresponse()) as answer:
                return answer.status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(40)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self.log.close()


class Client(threading.Thread):
    """Asks for one chat after the other, every other one streamed; remembers those that it saw finish."""

    def __init__(self, port: int, number: int) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._number = number
        self.stopped = threading.Event()
        self.finished: list[str] = []
        self.broken = 0

    def run(self) -> None:
        count = self._number
        while not self.stopped.is_set():
            count += 1
            try:
                self._ask(stream=count % 2 == 0)
            except (OSError, http.client.HTTPException, ValueError):
                self.broken += 1
                time.sleep(0.02)

    def _ask(self, *, stream: bool) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        try:
            body = {"model": "m", "stream": stream, "messages": [{"role": "user", "content": "hi"}]}
            connection.request("POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"})
            with contextlib.closing(connection.getresponse()) as answer:
                said = answer.read()
            if answer.status != 200:
                raise ValueError(answer.status)
            if stream:
                if not said.endswith(b"data: [DONE]\n\n"):
                    raise ValueError("cut")
            else:
                json.loads(said)
            self.finished.append(answer.headers["x-request-id"])
        finally:
            connection.close()


@contextlib.contextmanager
def traffic(port: int) -> Iterator[list[Client]]:
    clients = [Client(port, number) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        yield clients
    finally:
        for client in clients:
            client.stopped.set()
        for client in clients:
            client.join(30)


def kill_now_and_then(server: Server, kills: int, seed: int) -> int:
    chance = random.Random(seed)
    for _ in range(kills):
        time.sleep(chance.uniform(0.05, 0.4))
        if chance.random() < 0.5 and (scribes := server.scribes()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(chance.choice(scribes), signal.SIGKILL)  # nobody misses it
        os.kill(chance.choice(server.workers()), signal.SIGKILL)
        if chance.random() < 0.2 and (others := server.workers()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(others[0], signal.SIGKILL)  # now and then all of them at once
        server.wait_ready()
    return kills


def rows_of(folder: Path) -> list[sqlite3.Row]:
    with contextlib.closing(sqlite3.connect(folder / "t.db")) as database:
        database.row_factory = sqlite3.Row
        return list(database.execute("SELECT * FROM calls"))


def billed_micro(port: int) -> int:
    """What `GET billing/usage` says in all its pages together, in micro-USD."""
    amount, page, pages, lines, total = 0, 1, 1, 0, 0
    while page <= pages:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
            connection.request("GET", f"/v1/billing/usage?limit=500&sortOrder=asc&currency=USD&page={page}")
            answer = connection.getresponse()
            said = json.loads(answer.read(), parse_float=Decimal)
            assert answer.status == 200, said
        lines += len(said["data"])
        pages, total = said["pagination"]["totalPages"], said["pagination"]["total"]
        amount += sum(-line["amount"] * 1_000_000 for line in said["data"])
        page += 1
    assert lines == total
    assert amount == int(amount), "each line is in whole micro-units"
    return int(amount)


def balanced(folder: Path, double: Counting, clients: list[Client]) -> dict[str, int]:
    """Holds the three accounts against each other."""
    rows = {row["call_id"]: row for row in rows_of(folder)}
    seen = {one.call_id: one for one in double.seen}
    assert len(seen) == len(double.seen), "the upstream saw no call twice"
    finished = [call_id for client in clients for call_id in client.finished]
    assert len(set(finished)) == len(finished)
    assert [c for c in finished if c not in rows] == [], "a client saw these finish, and they are not in the ledger"
    assert {rows[c]["ending"] for c in finished} == {"finished"}
    assert [c for c in seen if c not in rows] == [], "the upstream saw these, and they are not in the ledger"
    settled = {c: row for c, row in rows.items() if row["ending"] == "finished"}
    assert set(settled) <= set(seen)
    for call_id, row in settled.items():
        one = seen[call_id]
        assert (row["prompt_tokens"], row["completion_tokens"], row["usage_source"]) == (
            one.prompt, one.completion, "upstream")  # fmt: skip
        assert (
            row["amount_micro"]
            == (one.prompt * INPUT + 500_000) // 1_000_000 + (one.completion * OUTPUT + 500_000) // 1_000_000
        )
    told = {c: (row["prompt_tokens"], row["completion_tokens"]) for c, row in rows.items() if row["prompt_tokens"]}
    unknown = [c for c in seen if c not in told]
    assert {rows[c]["ending"] for c in unknown} <= {"interrupted"}, (
        "only of a call whose worker died is the use unknown"
    )
    assert sum(map(sum, told.values())) + sum(seen[c].prompt + seen[c].completion for c in unknown) == sum(
        one.prompt + one.completion for one in double.seen
    ), "what all rows say, and what died with a worker, is all that the upstream counted"
    interrupted = [row for row in rows.values() if row["ending"] == "interrupted"]
    assert all(row["amount_micro"] is None for row in interrupted), (
        "what they used is not known, so neither is the price"
    )
    return {"rows": len(rows), "finished": len(finished), "interrupted": len(interrupted), "seen": len(seen)}


def killed(folder: Path, kills: int, seed: int, scribe: str) -> dict[str, int]:
    with counting() as double:
        file = config(double, folder, scribe)
        server = Server(file)
        try:
            server.wait_ready()
            with traffic(server.port) as clients:
                kill_now_and_then(server, kills, seed)
        finally:
            server.stop()
        # whoever starts next inherits what the last ones left
        again = Server(file)
        try:
            again.wait_ready()
            billed = billed_micro(again.port)
        finally:
            again.stop()
        assert list((folder / "t.db.state").glob("*.journal")) == [], "nothing is left to inherit"
        counts = balanced(folder, double, clients)
        assert billed == sum(row["amount_micro"] or 0 for row in rows_of(folder)) > 0, "the bill is the ledger"
        assert counts["finished"] > 10 * kills
        return counts


@scribed
def test_a_few_kills(tmp_path: Path, scribe: str) -> None:
    counts = killed(tmp_path, 6, 1, scribe)
    assert counts["interrupted"] > 0, "no kill hit a call: this shows nothing"


def asked(port: int, path: str, body: dict[str, object] | None = None) -> tuple[dict[str, str], Any]:
    """On a connection of its own, so that any worker may get it."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        headers = {"content-type": "application/json"}
        connection.request("POST" if body else "GET", path, json.dumps(body) if body else None, headers)
        answer = connection.getresponse()
        said = json.loads(answer.read())
        assert answer.status == 200, said
        return dict(answer.headers.items()), said


def worker_of(port: int, workers: list[int]) -> int:
    """The one that got a connection which stays open."""
    found = []
    for pid in workers:
        sockets = {os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir() if link.exists()}
        lines = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
        mine = {f"socket:[{line[9]}]" for line in lines if line[3] == "01" and line[1].endswith(f":{port:04X}")}
        found += [pid] * bool(mine & sockets)
    assert len(found) == 1
    return found[0]


@scribed
def test_what_one_worker_answered_all_know(tmp_path: Path, scribe: str) -> None:
    """Receipts, the bill and the command beside it have every row whose answer has been seen, whoever gave it, and also if he
    was killed right behind it."""
    chat: dict[str, object] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    with counting() as double:
        file = config(double, tmp_path, scribe)
        server = Server(file)
        try:
            server.wait_ready()
            for number in range(30):
                call_id = asked(server.port, "/v1/chat/completions", chat)[0]["x-request-id"]
                for _ in range(3):
                    assert asked(server.port, f"/v1/requests/{call_id}")[1]["ending"] == "finished"
                assert asked(server.port, "/v1/billing/usage?limit=1")[1]["pagination"]["total"] == 2 * (number + 1)
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
            connection.request("POST", "/v1/chat/completions", json.dumps(chat), {"content-type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            os.kill(worker_of(server.port, server.workers()), signal.SIGKILL)
            assert asked(server.port, f"/v1/requests/{answer.headers['x-request-id']}")[1]["ending"] == "finished"
            connection.close()
            asked(server.port, "/v1/chat/completions", chat)
            command = [sys.executable, "-m", "proxy", "usage", "--json", "--config", str(file)]
            told = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=60).stdout
            assert sum(row["calls"] for row in json.loads(told)["rows"]) == len(double.seen) == 32
        finally:
            server.stop()


@pytest.mark.slow
@pytest.mark.timeout(1800)
@scribed
def test_two_hundred_kills(tmp_path: Path, scribe: str) -> None:
    counts = killed(tmp_path, 200, 2, scribe)
    assert counts["interrupted"] > 50
