"""What the gateway costs, beside its peers, in one run on one machine. Prints one table of figures and one of ratios.

    python tests/bench/gateway.py [--peers nginx,vllm-router,portkey,litellm] [--seconds 4] [--save]

Method: the gateway under test on core 0; upstream and load on core 1; a warm-up before each measure. `requests/s`:
16 connections, small chat, wrk where it is installed. `streams/s`: 16 connections, 100-chunk streams as fast as they come.
`CPU/chunk`: 200 streams × 50 chunks/s, CPU time of the gateway's processes, the median of seven runs; and once more beside the
peers that take it, all of them running and asked in turns. Each paced chunk
carries the time at which the upstream wrote it: `lag` is from there to our reading it, less the same for a direct connection; a
gateway that held chunks back or closed gaps up would show a lag of the pace (20 ms), and the run fails. `added`: one connection,
direct and through the gateway in turns. Nobody here asks for a key, counts against limits or writes a ledger, since the peers do
not: what those cost is measured by accounts.py.
"""

import argparse
import asyncio
import datetime
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import cast

import uvloop

sys.path.insert(0, str(Path(__file__).parent))

from peers import LOAD_CORE, SUBJECTS, Subject, install, upstream

BODY = b'{"model":"%b","messages":[{"role":"user","content":"Say something nice about Venice, in one sentence."}]%b}'
SMALL = BODY % (b"bench", b"")
BURST = BODY % (b"bench", b',"stream":true')
PACED = BODY % (b"paced", b',"stream":true')
STAMP = re.compile(rb'"content":\s?"(\d{10,})"')
TURNS = 15
Row = dict[str, float]


def request(subject: Subject, body: bytes) -> bytes:
    more = "".join(f"{key}: {value}\r\n" for key, value in subject.headers.items())
    head = (
        f"POST {subject.path} HTTP/1.1\r\nhost: 127.0.0.1:{subject.port}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n{more}\r\n"
    )
    return head.encode() + body


class Client(asyncio.Protocol):
    """One connection: sends a request, collects until the answer's end, notes when each read came."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.done: asyncio.Future[bytes] | None = None
        self.keep = False
        self.reads: list[tuple[int, bytes]] = []
        self.tail, self.head = b"", b""
        self.want = -1

    def connection_lost(self, error: Exception | None) -> None:
        if self.done is not None and not self.done.done():
            self.done.set_exception(error or ConnectionError("closed in the middle of an answer"))

    def ask(self, payload: bytes, *, keep: bool = False) -> "asyncio.Future[bytes]":
        self.done = asyncio.get_running_loop().create_future()
        self.keep, self.reads, self.tail, self.head, self.want = keep, [], b"", b"", -1
        self.transport.write(payload)
        return self.done

    def data_received(self, data: bytes) -> None:
        if self.keep:
            self.reads.append((time.monotonic_ns(), data))
        if self.want < 0:
            self.head += data
            at = self.head.find(b"\r\n\r\n")
            if at < 0:
                return
            low = self.head[:at].lower()
            if not low.startswith(b"http/1.1 200"):
                self._finish(error=self.head[:300].decode("latin-1"))
                return
            length = re.search(rb"content-length: *(\d+)", low)
            self.want = int(length[1]) if length else 0
            data = self.head[at + 4 :]
            self.got = 0
        self.got += len(data)
        self.tail = (self.tail + data)[-7:]
        if (self.want and self.got >= self.want) or (not self.want and self.tail.endswith(b"0\r\n\r\n")):
            self._finish()

    def _finish(self, error: str = "") -> None:
        done, self.done = self.done, None
        if done is not None and not done.done():
            if error:
                done.set_exception(RuntimeError(error))
            else:
                done.set_result(self.tail)


async def connected(port: int) -> Client:
    _, client = await asyncio.get_running_loop().create_connection(Client, "127.0.0.1", port)
    return client


async def rate(subject: Subject, body: bytes, connections: int, seconds: float) -> float:
    """Answers per second, closed loop."""
    payload, counted = request(subject, body), 0
    until = time.perf_counter() + seconds

    async def one() -> None:
        nonlocal counted
        client = await connected(subject.port)
        while time.perf_counter() < until:
            await client.ask(payload)
            counted += 1
        client.transport.abort()

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(connections)))
    return counted / (time.perf_counter() - began)


def wrk_rate(subject: Subject, body: bytes, connections: int, seconds: float, folder: Path) -> float:
    script = folder / "post.lua"
    lines = [
        'wrk.method = "POST"',
        f"wrk.body = [[{body.decode()}]]",
        'wrk.headers["content-type"] = "application/json"',
    ]
    lines += [f'wrk.headers["{key}"] = "{value}"' for key, value in subject.headers.items()]
    script.write_text("\n".join(lines))
    command = ["taskset", "-c", LOAD_CORE, "wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "-s", str(script)]
    url = f"http://127.0.0.1:{subject.port}{subject.path}"
    said = subprocess.run([*command, url], capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in said:
        raise RuntimeError(said)
    found = re.search(r"Requests/sec:\s+([\d.]+)", said)
    assert found
    return float(found[1])


async def paced(subject: Subject, streams: int) -> Row:
    """CPU per chunk and lag of paced streams. Lags in ms."""
    payload = request(subject, PACED)
    clients = [await connected(subject.port) for _ in range(streams)]
    before = subject.cpu_s() if subject.pids else 0.0
    waits = []
    for client in clients:
        waits.append(client.ask(payload, keep=True))
        await asyncio.sleep(1.0 / streams)  # spread over the pace, as real streams are
    await asyncio.gather(*waits)
    spent = (subject.cpu_s() if subject.pids else 0.0) - before
    lags, reads = [], 0
    for client in clients:
        data, pending = b"", []
        for at, part in client.reads:
            data += part
            found = list(STAMP.finditer(data))
            pending += [(at, int(match[1])) for match in found]
            if found:
                data = data[found[-1].end() :]
        lags += [(at - written) / 1e6 for at, written in pending]
        reads += len(pending)
        client.transport.abort()
    lags.sort()
    return {
        "cpu_us": spent / max(reads, 1) * 1e6,
        "lag_p50": lags[len(lags) // 2],
        "lag_p99": lags[int(len(lags) * 0.99)],
        "chunks": reads,
    }


async def rss_at(subject: Subject, streams: int) -> float:
    clients = [await connected(subject.port) for _ in range(streams)]
    waits = [client.ask(request(subject, PACED)) for client in clients]
    await asyncio.sleep(0.6)
    rss = subject.rss_mb()
    for wait, client in zip(waits, clients, strict=True):
        client.transport.abort()
        wait.cancel()
    await asyncio.sleep(0.2)
    return rss


async def latency(subject: Subject, direct: Subject, rounds: int) -> tuple[float, float]:
    """(p50, p99) of what the subject adds to a direct call, µs: one connection each, in turns."""
    one, other = await connected(subject.port), await connected(direct.port)
    ours, theirs = request(subject, SMALL), request(direct, SMALL)
    through, straight = [], []
    for index in range(rounds + 50):
        for client, payload, times in ((one, ours, through), (other, theirs, straight)):
            began = time.perf_counter_ns()
            await client.ask(payload)
            if index >= 50:
                times.append((time.perf_counter_ns() - began) / 1000)
    one.transport.abort()
    other.transport.abort()
    base = statistics.median(straight)
    through.sort()
    return statistics.median(through) - base, through[int(len(through) * 0.99)] - base


async def measure(subject: Subject, direct: Subject, seconds: float, folder: Path) -> Row:
    row: Row = {"ready_s": subject.ready_s, "rss_0": subject.rss_mb() if subject.pids else 0.0}
    await rate(subject, SMALL, 4, 0.7)
    use_wrk = shutil.which("wrk") is not None
    row["requests_s"] = (
        await asyncio.to_thread(wrk_rate, subject, SMALL, 16, seconds, folder)
        if use_wrk
        else await rate(subject, SMALL, 16, seconds)
    )
    slow = subject.name == "litellm"
    try:
        await rate(subject, BURST, 4, 0.5)
        row["streams_s"] = await rate(subject, BURST, 16, seconds)
        rounds = [await paced(subject, 10 if slow else 200) for _ in range(1 if slow else 7)]
        row.update(sorted(rounds, key=lambda each: each["cpu_us"])[len(rounds) // 2])
    except (RuntimeError, ConnectionError) as error:
        if subject.name == "traghetto":
            raise
        print(f"{subject.name} fails at streams: {str(error).splitlines()[0]}")  # its cells stay empty
    if subject.pids:
        slow = slow or "streams_s" not in row
        row["rss_400"] = 0.0 if slow else await rss_at(subject, 400)
        row["rss_1000"] = 0.0 if slow else await rss_at(subject, 1000)
        row["added_p50"], row["added_p99"] = await latency(subject, direct, 100 if slow else 2000)
    return row


async def paced_in_turns(subjects: list[Subject], rounds: int) -> list[float]:
    """The median CPU µs per chunk of each, asked one after the other, round by round: a machine that is slower for a while is
    so for all of them."""
    found: list[list[float]] = [[] for _ in subjects]
    for _ in range(rounds):
        for subject, values in zip(subjects, found, strict=True):
            values.append((await paced(subject, 200))["cpu_us"])
    return [statistics.median(values) for values in found]


def in_turns(port: int, peers: list[str], folder: Path) -> str:
    with ExitStack() as running:
        subjects = [running.enter_context(SUBJECTS[name](port, folder)) for name in ["traghetto", *peers]]
        for subject in subjects:
            uvloop.run(rate(subject, SMALL, 4, 0.7))
        ours, *theirs = uvloop.run(paced_in_turns(subjects, TURNS))
    said = [f"{name} {cpu:.1f} ({ours / cpu:.2f} ×)" for name, cpu in zip(peers, theirs, strict=True)]
    return f"CPU µs/chunk in turns, the median of {TURNS}: traghetto {ours:.1f}, {', '.join(said)}."


COLUMNS = [
    ("requests_s", "requests/s", "{:,.0f}"),
    ("streams_s", "streams/s", "{:,.1f}"),
    ("cpu_us", "CPU µs/chunk", "{:.1f}"),
    ("lag_p50", "lag p50 ms", "{:.2f}"),
    ("lag_p99", "lag p99 ms", "{:.2f}"),
    ("added_p50", "added p50 µs", "{:.0f}"),
    ("added_p99", "added p99 µs", "{:.0f}"),
    ("rss_0", "RSS MB", "{:.0f}"),
    ("rss_400", "at 400", "{:.0f}"),
    ("rss_1000", "at 1000", "{:.0f}"),
    ("ready_s", "ready s", "{:.2f}"),
]


def table(rows: dict[str, Row]) -> str:
    lines = ["| | " + " | ".join(title for _, title, _ in COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for name, row in rows.items():
        cells = [form.format(row[key]) if row.get(key) else "" for key, _, form in COLUMNS]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    ours = rows.get("traghetto")
    lines += ["", "Traghetto's figure over each peer's (CPU per chunk: less is better):", ""]
    for name, row in rows.items():
        if ours and name not in ("traghetto", "direct"):
            said = [f"{t} {ours[k] / row[k]:.2f} ×" for k, t, _ in COLUMNS[:3] if row.get(k)]
            lines.append(f"- {name}: " + ", ".join(said))
    return "\n".join(lines)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--peers", default=os.environ.get("PEERS", ""))
    options.add_argument("--seconds", type=float, default=4.0)
    options.add_argument("--install", action="store_true", help="install the peers into PEERS_DIR first")
    options.add_argument("--save", action="store_true", help="write the table under tests/bench/results/")
    chosen = options.parse_args()
    os.environ.setdefault("PEERS_DIR", str(Path(".cache/peers").resolve()))
    if chosen.install:
        install(Path(os.environ["PEERS_DIR"]))
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {int(LOAD_CORE)})
    rows: dict[str, Row] = {}
    with tempfile.TemporaryDirectory() as folder, upstream() as port:
        direct = Subject("direct", port, [])
        rows["direct"] = uvloop.run(measure(direct, direct, chosen.seconds, Path(folder)))
        for name in ["traghetto", *filter(None, chosen.peers.split(","))]:
            with SUBJECTS[name](port, Path(folder)) as subject:
                rows[name] = uvloop.run(measure(subject, direct, chosen.seconds, Path(folder)))
            print(name, {key: round(value, 2) for key, value in rows[name].items()}, flush=True)
        steady = [name for name in rows if name in ("nginx", "vllm-router")]
        said = table(rows) + (f"\n\n{in_turns(port, steady, Path(folder))}" if steady else "")
    print(said)
    held_back = rows["traghetto"]["lag_p50"] - rows["direct"]["lag_p50"]
    assert held_back < 1.0, f"chunks are held back by {held_back:.2f} ms"
    if chosen.save:
        day = datetime.date.today().isoformat()
        machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
        path = Path(__file__).parent / "results" / f"{day}-gateway.md"
        path.write_text(
            f"# The gateway beside its peers, {day}\n\nMachine: {machine}.\n\n{said}\n\n## Method\n\n{__doc__}"
        )
        print(f"written to {path}")


if __name__ == "__main__":
    main()
