"""Graphics processors as ggml sees them, in the child: is there one, how much memory is free, how many layers fit.

Owns three calls into ggml and the arithmetic. Refuses to know models beyond their header. Invariant: without a GPU build
nothing is probed; what is not known counts as not there.
"""

import contextlib
import ctypes
from pathlib import Path
from typing import Any

from adapters.llama import ffi
from adapters.llama.footprint import kv_bytes_per_token
from adapters.llama.gguf_meta import GgufError, GgufMeta, read
from adapters.llama.spec import ALL_LAYERS, AUTO_LAYERS, Setup

_GPU_TYPES = (1, 2)  # GGML_BACKEND_DEVICE_TYPE_GPU and _IGPU
_RESERVE = 512 << 20  # for compute buffers and the driver
_SHARE = 0.92  # of free memory that is planned with


def free_memory() -> int:
    """Bytes free on all GPUs together; 0 without one."""
    if not ffi.supports_gpu():
        return 0
    folder = Path(ffi.lib.__file__).parent / "lib"
    total = 0
    with contextlib.suppress(OSError, AttributeError):
        ggml, base = _library(folder, "ggml"), _library(folder, "ggml-base")
        ggml.ggml_backend_dev_count.restype = ctypes.c_size_t
        ggml.ggml_backend_dev_get.restype = ctypes.c_void_p
        ggml.ggml_backend_dev_get.argtypes = [ctypes.c_size_t]
        base.ggml_backend_dev_type.argtypes = [ctypes.c_void_p]
        base.ggml_backend_dev_memory.argtypes = [ctypes.c_void_p, *[ctypes.POINTER(ctypes.c_size_t)] * 2]
        for index in range(ggml.ggml_backend_dev_count()):
            device = ggml.ggml_backend_dev_get(index)
            if base.ggml_backend_dev_type(device) in _GPU_TYPES:
                free, whole = ctypes.c_size_t(), ctypes.c_size_t()
                base.ggml_backend_dev_memory(device, ctypes.byref(free), ctypes.byref(whole))
                total += free.value
    return total


def _library(folder: Path, name: str) -> Any:
    return ctypes.CDLL(str(next(iter(sorted(folder.glob(f"lib{name}.so*"))))))


def layers_for(path: str, setup: Setup) -> int:
    """`setup.gpu_layers`, with "auto" decided."""
    if setup.gpu_layers != AUTO_LAYERS:
        return setup.gpu_layers
    free = free_memory()
    if not free:
        return 0
    try:
        return fitting_layers(read(path), setup, free)
    except GgufError:
        return ALL_LAYERS


def fitting_layers(meta: GgufMeta, setup: Setup, free: int) -> int:
    """How many layers, counted from the last, fit into `free` bytes with their share of the cache."""
    room = free * _SHARE - _RESERVE - 4 * setup.n_seq * meta.vocab
    layers = sorted(meta.layer_bytes.items(), reverse=True)
    cache = kv_bytes_per_token(meta, setup.kv_type) * setup.n_ctx / max(len(layers), 1)
    if room >= meta.other_bytes + sum(size + cache for _, size in layers):
        return ALL_LAYERS
    count = 0
    for _, size in layers:
        room -= size + cache
        if room < 0:
            break
        count += 1
    return count
