"""What a model will need, from its header and the machine: an estimate before loading, and a setup that fits.

Owns the arithmetic and the defaults behind "auto". Refuses to load anything and to know llama.cpp. Invariants: pure but
for `this_machine` and the size of a projector; an explicit wish is never overridden, only found not to fit; what cannot
fit is said with numbers.
"""

import contextlib
import os
from pathlib import Path

import msgspec

from adapters.llama.gguf_meta import GgufMeta
from adapters.llama.spec import ALL_LAYERS, AUTO_LAYERS, Setup

MIB = 1 << 20
_KV_BYTES = {"f16": 2.0, "q8_0": 34 / 32, "q4_0": 18 / 32}
_TINY = 32 * MIB  # weights below which a second thread costs more than it gives
_SMALL = 256 * MIB
_KV_MOST = 2048 * MIB  # what "auto" takes for the cache at most
_CONTEXT = 8192  # of one call, unless more is asked for or the model has less
_ENCODERS = ("bert", "nomic-bert", "jina-bert", "modern-bert", "neo-bert", "eurobert", "gemma-embedding", "t5encoder")


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration of a local upstream; None is "auto"."""

    gpu_layers: int | None = None
    threads: int | None = None
    context_tokens: int | None = None
    parallel: int | None = None
    kv_unified: bool | None = None
    kv_type: str = "f16"
    flash_attention: bool | None = None
    prefill_chunk: int | None = None
    backend_sampling: bool = False
    host_cache: int = 0
    host_cache_dir: str = ""
    pooling: str = "auto"
    projector: str = ""
    isolate_cache: bool = False


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """`memory` is what is free for us, in bytes; `cores` what this process may run on."""

    memory: int
    cores: int


class Footprint(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes, estimated before loading."""

    weights: int
    kv: int
    compute: int

    @property
    def total(self) -> int:
        return self.weights + self.kv + self.compute


class DoesNotFit(Exception):
    """The model needs more memory than there is."""


def this_machine() -> Machine:
    """Free memory and cores, as the container we may be in sees them."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        memory = int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1]) * 1024
    with contextlib.suppress(OSError, ValueError):
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
        memory = min(memory, limit - int(Path("/sys/fs/cgroup/memory.current").read_text()))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        cores = max(1, min(cores, -(-int(quota) // int(period))))
    return Machine(memory=max(memory, 0), cores=cores)


def memory_of(pid: int) -> int:
    """What a process holds in memory now, in bytes; 0 where that cannot be known."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def kv_bytes_per_token(meta: GgufMeta, kv_type: str) -> float:
    """Of all layers. Sliding windows and recurrent layers need less: this is the upper bound."""
    heads = meta.values.get(f"{meta.arch}.attention.head_count_kv", None)
    layers, width = meta.number("block_count"), meta.number("embedding_length")
    all_heads = max(meta.number("attention.head_count"), 1)
    key = meta.number("attention.key_length", width // all_heads)
    value = meta.number("attention.value_length", width // all_heads)
    if isinstance(heads, list):
        count = sum(h for h in heads if isinstance(h, int) and 0 <= h < 100_000)
    else:
        count = layers * meta.number("attention.head_count_kv", all_heads)
    return count * (key + value) * _KV_BYTES[kv_type]


def is_encoder(meta: GgufMeta) -> bool:
    """An embeddings model: it cannot generate."""
    return meta.arch.startswith(_ENCODERS)


def estimate(meta: GgufMeta, setup: Setup) -> Footprint:
    width, vocab = meta.number("embedding_length"), meta.vocab
    compute = 4 * (setup.n_seq * vocab + setup.n_ubatch * (6 * width + 2 * meta.number("feed_forward_length")))
    scores = 4 * setup.n_ubatch * (setup.n_ctx // setup.n_seq) * meta.number("attention.head_count", 1)
    kv = int(kv_bytes_per_token(meta, setup.kv_type) * setup.n_ctx) if setup.generates else 0
    weights = meta.weight_bytes + _size(setup.projector)
    return Footprint(weights=weights, kv=kv, compute=compute + min(scores, 256 * MIB) + 32 * MIB)


def _size(path: str) -> int:
    """Of a file, in bytes; 0 where there is none."""
    with contextlib.suppress(OSError):
        return os.path.getsize(path)
    return 0


def plan(meta: GgufMeta, wishes: Wishes, machine: Machine) -> Setup:
    """Every number decided. Raises DoesNotFit when even the smallest choice needs more memory than there is."""
    train = meta.number("context_length", _CONTEXT) or _CONTEXT
    context = min(wishes.context_tokens or min(train, _CONTEXT), max(train, 1))
    per_token = kv_bytes_per_token(meta, wishes.kv_type)
    offloaded = wishes.gpu_layers is not None and wishes.gpu_layers != 0
    room = machine.memory - (0 if offloaded else meta.weight_bytes) - 64 * MIB
    parallel = wishes.parallel
    if parallel is None:
        share = min(max(room, 0) / 4, _KV_MOST)
        parallel = next((n for n in (16, 8, 4, 2, 1) if n * context * per_token <= share), 1)
    parallel = min(max(parallel, 1), 256)
    unified = wishes.kv_unified if wishes.kv_unified is not None else 1 < parallel <= 4
    setup = Setup(
        n_ctx=_padded(context) * parallel,
        n_seq=parallel,
        context_most=max(train, context),
        unified=unified,
        threads=wishes.threads or _threads(meta.weight_bytes, machine.cores),
        gpu_layers=AUTO_LAYERS
        if wishes.gpu_layers is None
        else wishes.gpu_layers
        if wishes.gpu_layers >= 0
        else ALL_LAYERS,
        kv_type=wishes.kv_type,
        flash_attention=True if wishes.flash_attention is None and wishes.kv_type != "f16" else wishes.flash_attention,
        backend_sampling=wishes.backend_sampling,
        chunk=wishes.prefill_chunk or 256,
        isolate_cache=wishes.isolate_cache,
        host_cache=wishes.host_cache,
        host_cache_dir=wishes.host_cache_dir,
        projector="" if is_encoder(meta) else wishes.projector,
        generates=not is_encoder(meta),
        pooling=wishes.pooling,
        embed_tokens=min(train, _CONTEXT),
    )
    if not offloaded:
        need = estimate(meta, setup).total
        if need > machine.memory:
            raise DoesNotFit(
                f"the model needs about {need // MIB} MiB of memory, and {machine.memory // MIB} MiB are free"
            )
    return setup


def _padded(context: int) -> int:
    """llama.cpp rounds a sequence's context up to 256."""
    return -(-context // 256) * 256


def _threads(weights: int, cores: int) -> int:
    if weights < _TINY:
        return 1
    return max(1, min(cores, 4 if weights < _SMALL else 16))
