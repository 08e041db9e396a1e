"""Which transport is how fast, and does it stream? One table, one run, one machine.

    python tests/bench/transport.py [--seconds 2] [--connections 16]

An upstream in a process of its own (a raw protocol, no framework) answers three paths: a small JSON body, a burst of 100
chunks written in 100 turns of its loop, and a paced stream whose chunks carry the time at which they were written. Every
transport is driven through `HttpClient` in this process: requests per second, burst chunks per second, CPU per request
and per chunk, and the lag from write to hand-over of a paced chunk. A transport that holds chunks back shows a lag of
the pace or more, whatever its throughput. Ratios are to the last row.
"""

import argparse
import asyncio
import multiprocessing
import os
import sys
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import cast

import uvloop

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from adapters._http import HttpClient, Timeouts

BODY = b'{"id":"chatcmpl-1","object":"chat.completion","choices":[{"index":0,"message":{"content":"%s"}}]}' % (
    b"x" * 200
)
SMALL = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
EVENT = b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"word "}}]}\n\n'
CHUNK = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)
BURST, PACED, PACE_S = 100, 40, 0.005
REQUEST = b'{"model":"m","messages":[{"role":"user","content":"hello"}]}'


class Upstream(asyncio.Protocol):
    """Answers a request as soon as its head and its (short) body are there."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self.loop = asyncio.get_running_loop()
        self.data = b""

    def data_received(self, data: bytes) -> None:
        self.data += data
        if not self.data.endswith(REQUEST):
            return
        path, self.data = self.data.split(b" ", 2)[1], b""
        if path == b"/small":
            self.transport.write(SMALL)
            return
        self.transport.write(HEAD)
        if path == b"/burst":
            self.loop.call_soon(self.burst, BURST)
        else:
            self.loop.call_later(PACE_S, self.paced, PACED)

    def burst(self, left: int) -> None:
        if left:
            self.transport.write(CHUNK)
            self.loop.call_soon(self.burst, left - 1)
        else:
            self.transport.write(b"0\r\n\r\n")

    def paced(self, left: int) -> None:
        if left:
            stamp = b"%d\n" % time.monotonic_ns()
            self.transport.write(b"%x\r\n%b\r\n" % (len(stamp), stamp))
            self.loop.call_later(PACE_S, self.paced, left - 1)
        else:
            self.transport.write(b"0\r\n\r\n")


def pin(core: int) -> None:
    """Stay on one core, where there are several."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(0, {cores[core % len(cores)]})


def upstream(pipe: Connection) -> None:
    """The other process."""
    pin(1)

    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await asyncio.Event().wait()

    uvloop.run(main())


async def small(client: HttpClient) -> int:
    async with await client.send("POST", "/small", content=REQUEST) as response:
        assert len(await response.read(10_000)) == len(BODY)
    return 1


async def burst(client: HttpClient) -> int:
    size = 0
    async with await client.send("POST", "/burst", content=REQUEST) as response:
        while data := await response.chunk():
            size += len(data)
    assert size == BURST * len(EVENT)
    return BURST


async def lags(client: HttpClient) -> list[float]:
    """Microseconds from write to hand-over, one for each paced chunk."""
    out: list[float] = []
    async with await client.send("POST", "/paced", content=REQUEST) as response:
        while data := await response.chunk():
            now = time.monotonic_ns()
            out += [(now - int(stamp)) / 1000 for stamp in data.split()]
    assert len(out) == PACED
    return out


async def rate(
    client: HttpClient, work: Callable[[HttpClient], Awaitable[int]], seconds: float, connections: int
) -> tuple[float, float]:
    """Units per second and CPU microseconds per unit."""
    done = 0

    async def loop(until: float) -> None:
        nonlocal done
        while time.perf_counter() < until:
            units = await work(client)
            done += units

    await asyncio.gather(*(work(client) for _ in range(connections)))
    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(loop(began + seconds) for _ in range(connections)))
    return done / (time.perf_counter() - began), (time.process_time() - cpu) / done * 1e6


async def measure(port: int, seconds: float, connections: int) -> None:
    print(
        f"{'transport':10} {'requests/s':>11} {'µs CPU':>7} {'ratio':>6} {'burst chunks/s':>15} {'µs CPU':>7} {'ratio':>6}"
        f" {'lag p50':>8} {'lag p90':>8}"
    )
    rows = []
    for name in ("native", "aiohttp", "httpx"):
        client = HttpClient(
            f"http://127.0.0.1:{port}",
            transport=name,  # type: ignore[arg-type]
            headers=[("authorization", "Bearer k"), ("content-type", "application/json")],
            timeouts=Timeouts(),
        )
        requests = await rate(client, small, seconds, connections)
        chunks = await rate(client, burst, seconds, connections)
        late = sorted([lag for lag_list in await asyncio.gather(*(lags(client) for _ in range(8))) for lag in lag_list])
        rows.append((name, requests, chunks, late[len(late) // 2], late[int(len(late) * 0.9)]))
        await client.aclose()
    for name, requests, chunks, p50, p90 in rows:
        print(
            f"{name:10} {requests[0]:11,.0f} {requests[1]:7.1f} {requests[0] / rows[-1][1][0]:6.1f}"
            f" {chunks[0]:15,.0f} {chunks[1]:7.2f} {chunks[0] / rows[-1][2][0]:6.1f} {p50:6.0f}µs {p90:6.0f}µs"
        )
    print(
        f"{connections} connections, {seconds:g} s a cell; lag over 8 streams of {PACED} chunks, one each {PACE_S * 1e3:g} ms"
    )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--seconds", type=float, default=2.0)
    arguments.add_argument("--connections", type=int, default=16)
    options = arguments.parse_args()
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=upstream, args=(theirs,), daemon=True)
    process.start()
    pin(0)
    try:
        uvloop.run(measure(ours.recv(), options.seconds, options.connections))
    finally:
        process.terminate()
        process.join()


if __name__ == "__main__":
    main()
