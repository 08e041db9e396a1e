"""The local engine on a GPU, with a model of 8 billion parameters made on the spot, beside llama-server on the same GPU.

    make gpu                                           # llama-cpp-python, compiled for CUDA
    python tests/bench/gpu.py [--install] [--peers llama-server] [--streams 1,8,32,64] [--save]

The file has Llama 3 8B's shape, a vocabulary of 151,936 and random weights in q8_0 (8.8 GB; `--cache` says where it goes).
llama-server is compiled from the same llama.cpp with the same options. Both run with all layers on the GPU, flash
attention and the same KV type; each once with sampling on the CPU and once where the model runs. Method otherwise as in
engine_peers.py: streamed chats over HTTP, alternating rounds, medians. With `backend sampling` the CPU does not see the
logits: at 32 rows of 152k that is 19 MB a step, and the draw itself.
"""

import argparse
import contextlib
import datetime
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvloop

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

import engine_peers
import engine_servers as servers
from peers import Subject

from fakes.gguf_large import EIGHT_B, build_large

SETTINGS: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0},
    "T 0.8, top_p 0.95": {"temperature": 0.8, "top_p": 0.95, "top_k": 0, "min_p": 0.0},
}
TOKENS = {1: 256, 4: 256, 8: 256, 16: 192, 32: 128, 64: 128}
CMAKE = ("-DGGML_NATIVE=ON", "-DGGML_CUDA=ON")


def our_options(kv_type: str, backend_sampling: bool) -> str:
    """Keys of an upstream of kind llama, as TOML lines: what a GPU should be run with."""
    return "\n".join(
        (
            'gpu_layers = "auto"',
            "flash_attention = true",
            f'kv_type = "{kv_type}"',
            "prefill_chunk = 512",
            f"backend_sampling = {str(backend_sampling).lower()}",
        )
    )


def their_options(kv_type: str, backend_sampling: bool) -> str:
    """The same for llama-server."""
    options = f"-ngl 999 -fa on -ctk {kv_type} -ctv {kv_type}"
    return options + (" --backend-sampling" if backend_sampling else "")


@contextmanager
def subject(kind: str, path: Path, scratch: Path, chosen: argparse.Namespace, *, backend: bool) -> Iterator[Subject]:
    options = our_options if kind == "traghetto" else their_options
    sizes = {"parallel": chosen.parallel, "context": chosen.context, "threads": chosen.threads}
    folder = scratch / kind / ("backend" if backend else "cpu")
    folder.mkdir(parents=True)
    more = options(chosen.kv_type, backend)
    with servers.SERVERS[kind](path, **sizes, scratch=folder, more=more) as one:
        if backend:
            one.name += ", backend sampling"
        yield one


def missing() -> str:
    """Why this cannot run here, or nothing."""
    if (
        shutil.which("nvidia-smi") is None
        or subprocess.run(["nvidia-smi", "-L"], capture_output=True, check=False).returncode
    ):
        return "There is no NVIDIA GPU here (nvidia-smi finds none)."
    # beside the library, without loading it: this process stays off the GPU
    spec = importlib.util.find_spec("llama_cpp")
    found = spec is not None and list(Path(next(iter(spec.submodule_search_locations or [""]))).glob("lib/*cuda*"))
    return "" if found else "This environment's llama-cpp-python has no CUDA: run `make gpu` first."


def machine() -> str:
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    gpu = subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()
    return f"{gpu}; {engine_peers.machine()}"


async def run(chosen: argparse.Namespace) -> str:
    chosen.cache.mkdir(parents=True, exist_ok=True)
    path = chosen.cache / "eight-b-q8_0.gguf"
    if not path.exists():
        build_large(path, EIGHT_B, name="eight-b")
    tokens = {streams: TOKENS.get(streams, 128) for streams in chosen.streams}
    figures: engine_peers.Figures = {}
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
        subjects = [
            stack.enter_context(subject(kind, path, Path(scratch), chosen, backend=backend))
            for kind in ("traghetto", *chosen.peers)
            for backend in (False, True)
        ]
        for label, settings in SETTINGS.items():
            figures |= await engine_peers.alternate(subjects, tokens, chosen.rounds, settings, f"8B, {label}")
    return f"Machine: {machine()}.\n\n{engine_peers.table(figures)}"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--peers", type=lambda text: [*filter(None, text.split(","))], default="llama-server")
    options.add_argument("--streams", type=lambda text: [int(n) for n in text.split(",")], default="1,8,32")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--parallel", type=int, default=32)
    options.add_argument("--context", type=int, default=2048)
    options.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options.add_argument("--kv-type", choices=("f16", "q8_0"), default="f16")
    options.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "traghetto" / "bench")
    options.add_argument(
        "--install", action="store_true", help="build llama-server for CUDA first, where it is missing"
    )
    options.add_argument("--save", action="store_true", help="write the table under tests/bench/results/")
    chosen = options.parse_args()
    if reason := missing():
        print(reason)
        return
    os.environ.setdefault("ENGINE_PEERS_DIR", ".cache/engine-peers-cuda")
    if chosen.install and "llama-server" in chosen.peers:
        servers.install(CMAKE)
    said = uvloop.run(run(chosen))
    print(said)
    if chosen.save:
        day = datetime.date.today().isoformat()
        path = Path(__file__).parent / "results" / f"{day}-gpu.md"
        path.write_text(f"# The local engine on a GPU, {day}\n\n{said}\n\n## Method\n\n{__doc__}")
        print(f"written to {path}")


if __name__ == "__main__":
    main()
