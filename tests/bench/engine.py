"""The local engine by itself: throughput by streams, warm against cold prefixes, the longest gap beside a long prompt.

    python tests/bench/engine.py [--size tiny|100m] [--threads N] [--server PATH]

Models are made on the spot (random weights, real shapes). With `--server` a llama-server built from the same llama.cpp
is measured on the same file, prompts and settings, in alternating rounds; ratios are ours over its.
"""

import argparse
import asyncio
import itertools
import json
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1])]

from adapters.llama.spec import Generate, Sampling, Setup  # noqa: E402
from adapters.llama.supervisor import Engine  # noqa: E402
from fakes.gguf_model import Shape, build  # noqa: E402

SHAPES = {
    "tiny": Shape(layers=1, width=64, heads=4, kv_heads=2, ffn=128, vocab=21_600, context=8192),
    "100m": Shape(layers=12, width=768, heads=12, kv_heads=4, ffn=2048, vocab=16_384, kind="q8_0", context=8192),
}
GREEDY = Sampling(temperature=0, ignore_eos=True)
PER_SEQUENCE = 1024


def _prompt(number: int, size: int) -> list[int]:
    """Distinct from the first token on, so that nothing is shared."""
    return [40 + number % 200, *(33 + (number * 7 + at * 13) % 90 for at in range(size - 1))]


async def _generate(engine: Engine, tokens: list[int], count: int, running: asyncio.Event | None = None) -> list[float]:
    """When each delta came; `running` is set after ten."""
    generation = engine.submit(Generate(tokens=tokens, max_tokens=count, sampling=GREEDY))
    times: list[float] = []
    while await generation.next() is not None:
        times.append(time.perf_counter())
        if running is not None and len(times) == 10:
            running.set()
    return times


async def ours(engine: Engine, streams: int, count: int, salt: int) -> float:
    """Tokens per second."""
    began = time.perf_counter()
    await asyncio.gather(*(_generate(engine, _prompt(salt + i, 90), count) for i in range(streams)))
    return streams * count / (time.perf_counter() - began)


async def theirs(port: int, streams: int, count: int, salt: int) -> float:
    def one(number: int) -> None:
        body = {"prompt": _prompt(salt + number, 90), "n_predict": count, "temperature": 0, "ignore_eos": True}
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/completion", json.dumps(body).encode(), {"content-type": "application/json"}
        )
        urllib.request.urlopen(request, timeout=600).read()

    with ThreadPoolExecutor(streams) as pool:
        loop = asyncio.get_running_loop()
        began = time.perf_counter()
        await asyncio.gather(*(loop.run_in_executor(pool, one, i) for i in range(streams)))
        return streams * count / (time.perf_counter() - began)


async def throughput(engine: Engine, port: int, rounds: int, count: int) -> None:
    print(
        f"\nstreams   ours tok/s{'   llama-server   ratio' if port else ''}   (median of {rounds} alternating rounds)"
    )
    for streams in (1, 4, 8, 16, 32):
        mine, other = [], []
        for turn in range(rounds):
            salt = 1000 * streams + 100 * turn
            mine.append(await ours(engine, streams, count, salt))
            if port:
                other.append(await theirs(port, streams, count, salt + 50))
        line = f"{streams:7}   {statistics.median(mine):10.0f}"
        if other:
            line += f"   {statistics.median(other):12.0f}   {statistics.median(mine) / statistics.median(other):5.2f}"
        print(line, flush=True)


async def prefixes(path: str, threads: int) -> None:
    engine = Engine(path, Setup(n_ctx=4096, n_seq=1, threads=threads))
    await engine.start()
    ratios = []
    for turn in range(3):
        prompt = _prompt(turn, 2000)
        times = []
        for tail in ([50], [51]):
            began = time.perf_counter()
            times.append((await _generate(engine, prompt + tail, 1))[0] - began)
        ratios.append(times[1] / times[0])
        print(f"2,000-token prompt: cold {times[0] * 1e3:.0f} ms, warm {times[1] * 1e3:.1f} ms")
    print(f"warm / cold: {statistics.median(ratios):.3f} (target 0.1)")
    await engine.stop()


async def gaps(path: str, threads: int) -> None:
    """Eight streams; a 4,000-token prompt arrives while they run."""
    engine = Engine(path, Setup(n_ctx=9 * 5120, n_seq=9, threads=threads))
    await engine.start()
    running = asyncio.Event()
    streams = [asyncio.create_task(_generate(engine, _prompt(i, 50), 900, running)) for i in range(8)]
    await running.wait()
    began = time.perf_counter()
    long = await _generate(engine, _prompt(99, 4000), 2)
    during: list[float] = []
    quiet: list[float] = []
    for times in await asyncio.gather(*streams):
        for a, b in itertools.pairwise(times):
            (during if began <= b <= long[0] else quiet).append(b - a)
    median = statistics.median(during + quiet)
    longest, alone = max(during, default=0.0), max(quiet, default=0.0)
    print(
        f"\n8 streams, then a prompt of 4,000 tokens, read in {long[0] - began:.1f} s: median gap {median * 1e3:.1f} ms"
    )
    print(f"longest gap beside the prompt {longest * 1e3:.1f} ms = {longest / median:.1f} x median (target 3)")
    print(
        f"longest gap without it {alone * 1e3:.1f} ms = {alone / median:.1f} x median (what the machine does by itself)"
    )
    await engine.stop()


async def _server(binary: str, path: str, threads: int, then: Callable[[int], Awaitable[None]]) -> None:
    if not binary:
        await then(0)
        return
    port = 18_099
    command = [binary, "-m", path, "--port", str(port), "--parallel", "32", "-c", str(32 * PER_SEQUENCE)]
    command += ["-t", str(threads), "-tb", str(threads), "--no-webui"]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            try:
                await asyncio.to_thread(urllib.request.urlopen, f"http://127.0.0.1:{port}/health", timeout=1)
                break
            except OSError:
                await asyncio.sleep(0.1)
        await then(port)
    finally:
        process.terminate()
        await process.wait()


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SHAPES, default="100m")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--server", default="", help="a llama-server binary to compare with")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "traghetto" / "bench")
    args = parser.parse_args()
    args.cache.mkdir(parents=True, exist_ok=True)
    path = args.cache / f"{args.size}.gguf"
    if not path.exists():
        build(path, SHAPES[args.size], name=args.size)
    engine = Engine(str(path), Setup(n_ctx=32 * PER_SEQUENCE, n_seq=32, threads=args.threads))
    info = await engine.start()
    print(
        f"{info.parameters / 1e6:.1f}M parameters, {info.size / 1e6:.0f} MB, vocabulary {info.n_vocab}, {args.threads} threads"
    )
    await _server(args.server, str(path), args.threads, lambda port: throughput(engine, port, args.rounds, args.tokens))
    await engine.stop()
    await prefixes(str(path), args.threads)
    await gaps(str(path), args.threads)


if __name__ == "__main__":
    asyncio.run(main())
